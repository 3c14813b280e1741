//! `slug export`: `slug up` as a service of the operating system's process manager.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use slug::archive;
use slug::export::BadExport;
use slug::export::ExportFile;
use slug::export::Manager;
use slug::export::Service;
use slug::export::files;
use slug::ident::AppName;
use slug::run::formation;
use slug::store::Ledger;
use slug::store::Store;
use slug::sys::fs::create_dir_durable;
use slug::sys::fs::write_atomic;

use super::args::Export;
use super::args::ExportFor;
use super::report::Failure;
use super::report::exit;
use super::settings::Settings;
use super::ui::Text;

/// For the router, the log and the supervisor itself, when the app's processes are gone.
const STOP_MARGIN: Duration = Duration::from_secs(15);
const UNCHANGED: &str = "no file was written";

pub(crate) fn run(settings: &Settings, typed: &Export) -> Result<u8, Failure> {
    let manager = match typed.manager {
        ExportFor::Systemd => Manager::Systemd,
        ExportFor::Runit => Manager::Runit,
        ExportFor::S6 => Manager::S6,
        ExportFor::Supervisord => Manager::Supervisord,
        ExportFor::Compose => return Err(no_compose()),
    };
    let dir = settings.absolute(&typed.dir);
    let store = settings.open_store()?;
    let app = settings.app(&store)?;
    let service = Service {
        command: command(settings, &store, &app, typed)?,
        user: typed.user.clone(),
        stop_within: stop_within(settings, &store, &app)?,
        app,
    };
    let files = files(manager, &service)?;
    if typed.dry_run {
        settings.ui.answer(&answer(&service, &files), |_| {
            let mut text = Text::default();
            for file in &files {
                text.line(format!("# {}\n{}", file.path, file.text));
            }
            text.into_string()
        })?;
        return Ok(0);
    }
    write(&dir, &files, typed.force)?;
    settings.ui.answer(&answer(&service, &files), |_| {
        let mut text = Text::default();
        text.lines(
            files
                .iter()
                .map(|file| dir.join(&file.path).display().to_string()),
        );
        text.into_string()
    })?;
    settings.ui.say(next(manager));
    Ok(0)
}

fn answer(service: &Service, files: &[ExportFile]) -> serde_json::Value {
    let object = |file: &ExportFile| json!({ "path": file.path, "text": file.text, "executable": file.is_executable });
    let files: Vec<_> = files.iter().map(object).collect();
    json!({ "schema": 1, "app": service.app, "files": files })
}

/// `slug up` with everything that an environment could have said to this command.
fn command(
    settings: &Settings,
    store: &Store,
    app: &AppName,
    typed: &Export,
) -> Result<Vec<String>, Failure> {
    let program = Settings::program()?;
    let mut command = vec![text(&program)?, "up".to_owned()];
    command.extend(["--app".to_owned(), app.to_string()]);
    command.extend(["--store".to_owned(), text(store.root())?]);
    for listen in &typed.listen {
        let listen = match listen {
            slug::router::Listen::Unix(path) => {
                format!("unix:{}", text(&settings.absolute(path))?)
            }
            tcp @ slug::router::Listen::Tcp(_) => tcp.to_string(),
        };
        command.extend(["--listen".to_owned(), listen]);
    }
    Ok(command)
}

fn text(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::failed(format!("the path `{}` is not UTF-8", path.display()))
            .unchanged(UNCHANGED)
            .hint("the files of a process manager are text: give it another name")
    })
}

/// The longest that a type of the current release may take: what serves requests goes on for its `drain`, and then
/// everything has its `grace`.
fn stop_within(settings: &Settings, store: &Store, app: &AppName) -> Result<Duration, Failure> {
    let current = Ledger::open(store, app).current(&settings.host)?;
    let slug = current.and_then(|release| release.record.slug);
    let default = formation::GRACE + formation::DRAIN;
    let Some(slug) = slug else {
        return Ok(default + STOP_MARGIN);
    };
    let types = formation::types(&archive::read_image(store, &slug)?)
        .map_err(|error| Failure::of(exit::REFUSED, &error))?;
    let longest = types.values().map(|plan| plan.grace + plan.drain).max();
    Ok(longest.unwrap_or(default) + STOP_MARGIN)
}

/// All or none: what is there already is found before anything is written.
fn write(dir: &Path, files: &[ExportFile], force: bool) -> Result<(), Failure> {
    let there = files.iter().map(|file| dir.join(&file.path));
    let there: Vec<String> = there
        .filter(|path| !force && path.symlink_metadata().is_ok())
        .map(|path| path.display().to_string())
        .collect();
    if !there.is_empty() {
        return Err(
            Failure::refused("this would write over files that are there")
                .detail(there.join("\n"))
                .unchanged(UNCHANGED)
                .hint("`--force` writes over them, `--dry-run` shows what would be written"),
        );
    }
    for file in files {
        let path = dir.join(&file.path);
        if let Some(folder) = path.parent() {
            create_dir_durable(folder, 0o755)?;
        }
        let mode = if file.is_executable { 0o755 } else { 0o644 };
        write_atomic(&path, file.text.as_bytes(), mode)?;
    }
    Ok(())
}

fn next(manager: Manager) -> &'static str {
    match manager {
        Manager::Systemd => {
            "next: put it into /etc/systemd/system, `systemctl daemon-reload`, `systemctl enable --now`"
        }
        Manager::Runit => {
            "next: link the folder into the one that runsvdir scans, such as /etc/service"
        }
        Manager::S6 => {
            "next: link the folder into the one that s6-svscan scans, and `s6-svscanctl -a` it"
        }
        Manager::Supervisord => {
            "next: put it where `[include]` of supervisord.conf looks, and `supervisorctl update`"
        }
    }
}

/// What a compose file runs are images, and a slug is one without a base.
fn no_compose() -> Failure {
    Failure::refused("a slug cannot be a service of compose: compose runs images that bring their own system, and a slug is an image without a base")
        .unchanged(UNCHANGED)
        .hint("`slug export systemd` runs the app on this host, without a container engine")
        .hint("put a base below the slug's layers (`skopeo copy oci-archive:app.slug …`, then an image with its layers on the base), and name that image in a compose file; /cnb/process/TYPE starts a process in it")
}

impl From<BadExport> for Failure {
    fn from(error: BadExport) -> Self {
        let failure = Self::of(exit::FAILED, &error).unchanged(UNCHANGED);
        match error {
            BadExport::Control(_) => failure.hint("give the store or the socket another path"),
            BadExport::User(_) => failure.hint("name a user of this host: `--user deploy`"),
        }
    }
}
