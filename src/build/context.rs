//! What all programs of one build have in common, and what each of them sees.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::cache::Cache;
use super::catalog::{Catalog, inside};
use super::environment;
use super::explain::{VariableSource, given, given_by_build_config};
use super::host_programs::prefixes;
use super::site::{HOST, LAYERS, PLATFORM, SLUG, Site};
use super::source::Source;
use super::workspace::Copied;
use super::{BuildError, BuildRequest, Event, machine};
use crate::archive::{AppFolder, Host};
use crate::buildpack::classic;
use crate::buildpack::descriptor::Descriptor;
use crate::buildpack::environment::Environment;
use crate::layer::Env;
use crate::layer::env::{Action, Delta};
use crate::layer::user_env;
use crate::sys::fs::write_unsynced;
use crate::sys::sandbox::{Mount, Network};
use crate::sys::{At as _, PathError};

/// What the machine has installed and from where, which classic buildpacks read to install more below the app
/// (heroku-buildpack-apt). What only root may read of it stays so.
const PACKAGES: [&str; 2] = ["/etc/apt", "/var/lib/dpkg"];

/// Everything that stays the same during a build.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// What was asked for.
    pub(super) request: &'a BuildRequest,
    /// Where programs run.
    pub(super) site: Site,
    /// Their environment.
    pub(super) environment: Environment,
    /// The buildpacks.
    pub(super) catalog: Catalog,
    /// This machine.
    pub(super) host: Host,
    /// This build's own folder.
    pub(super) scratch: PathBuf,
    /// The app, on this machine.
    pub(super) workspace: PathBuf,
    /// What the app was when it was copied there.
    pub(super) app: Copied,
    /// Files and folders of the operator's that the settings name, and where they are seen.
    settings: Vec<Mount>,
}

impl<'a> Context<'a> {
    /// Copies the app to its place and writes what the platform says to buildpacks.
    pub(super) fn make(
        request: &'a BuildRequest,
        source: &Source,
        cache: &Cache,
        progress: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, BuildError> {
        let scratch = cache.scratch().to_owned();
        let catalog = Catalog::read(request, &source.project, &scratch, progress)?;
        let site = Site::open(request, catalog.app_folder())?;
        let workspace = site.workspace(&scratch);
        site.make_writable(&workspace)?;
        let app = source.copy_to(&workspace, site.uid, &scratch)?;
        let machine = machine::settings(&request.operator_env, request.home.as_deref());
        let mut user: Env = machine
            .env
            .iter()
            .map(|(name, value)| (name.into(), OsStr::from_bytes(value).to_owned()))
            .collect();
        let platform_env = request.platform_env.as_deref().map(user_env::read);
        let platform_env = platform_env.transpose()?.unwrap_or_default();
        let mut variables = [
            given(VariableSource::Machine, &user),
            given(VariableSource::Project, &source.project.env),
            given(VariableSource::PlatformEnv, &platform_env),
            given(VariableSource::Option, &request.env),
        ]
        .concat();
        user.extend(source.project.env.clone());
        user.extend(platform_env);
        user.extend(request.env.clone());
        write_platform(&scratch.join("platform"), &user)?;
        let build_config = request
            .build_config
            .as_deref()
            .map(|folder| Delta::read(&folder.join("env"), Action::Default));
        let build_config = build_config.transpose()?.unwrap_or_default();
        variables.extend(given_by_build_config(&build_config));
        progress(Event::Variables(&variables));
        let host = Host::read()?;
        let target = environment::target(&host.target);
        let mut base = environment::base(&request.operator_env, site.home(), &target);
        if let (AppFolder::App, Some(commit)) = (site.app, &source.commit) {
            base.insert("SOURCE_VERSION".into(), commit.id.clone().into()); // classic buildpacks are told it
        }
        let environment = Environment {
            base,
            user,
            build_config,
            exec_env: request.exec_env.clone(),
            target,
            platform: PLATFORM.into(),
            layers: LAYERS.into(),
        };
        let settings = show_settings(&machine.binds, &site, &scratch)?;
        Ok(Self {
            request,
            site,
            environment,
            catalog,
            host,
            scratch,
            workspace,
            app,
            settings,
        })
    }

    /// The network that buildpacks have.
    pub(super) fn network(&self) -> Network {
        if self.request.offline {
            Network::None
        } else {
            Network::Host
        }
    }

    /// What `bin/detect` and `bin/build` of a buildpack both see.
    pub(super) fn seen_by(
        &self,
        buildpack: &Descriptor,
        may_write_app: bool,
    ) -> Result<Vec<Mount>, PathError> {
        let bind = |from: &Path, to: &Path| Mount::Bind {
            from: from.to_owned(),
            to: to.to_owned(),
            read_only: true,
        };
        let mut sees = vec![
            Mount::Bind {
                from: self.workspace.clone(),
                to: self.site.app.path().to_owned(),
                read_only: !may_write_app,
            },
            bind(&buildpack.folder, &inside(buildpack)),
        ];
        if self.catalog.is_built_in(buildpack) {
            sees.push(bind(&self.request.program, Path::new(SLUG)));
        }
        if buildpack.id.as_str() == classic::ID {
            let system = PACKAGES.map(Path::new).into_iter();
            sees.extend(
                system
                    .filter(|path| path.is_dir())
                    .map(|path| bind(path, path)),
            );
        }
        let request = self.request;
        let prefixes = prefixes(
            &buildpack.host_programs,
            &request.operator_env,
            request.home.as_deref(),
        );
        let places: Vec<PathBuf> = (0..prefixes.len())
            .map(|number| Path::new(HOST).join(number.to_string()))
            .collect();
        for place in &places {
            self.make_place(place, true)?;
        }
        sees.push(bind(&self.platform(), Path::new(PLATFORM)));
        sees.extend(
            prefixes
                .iter()
                .zip(&places)
                .map(|(prefix, place)| bind(prefix, &Path::new(PLATFORM).join(place))),
        );
        sees.extend(self.settings.iter().cloned());
        Ok(sees)
    }

    /// The platform's folder, on this machine.
    fn platform(&self) -> PathBuf {
        self.scratch.join("platform")
    }

    /// Makes a place below the platform's folder over which something is mounted: the folder itself is read-only inside.
    pub(super) fn make_place(&self, below: &Path, is_folder: bool) -> Result<(), PathError> {
        let path = self.platform().join(below);
        if self.site.is_real() || path.symlink_metadata().is_ok() {
            return Ok(()); // at the real paths, an empty place would stand in the way
        }
        let parent = path.parent().unwrap_or(&path);
        fs::create_dir_all(parent).at("create the folder", parent)?;
        if is_folder {
            fs::create_dir(&path).at("create the folder", &path)
        } else {
            write_unsynced(&path, b"", 0o644)
        }
    }
}

/// `<platform>/env`: a file for each variable (rule 42).
fn write_platform(platform: &Path, user: &Env) -> Result<(), PathError> {
    let folder = platform.join("env");
    fs::create_dir_all(&folder).at("create the folder", &folder)?;
    // Also if it stays empty: a platform without it fetches nothing for anybody (spec/buildpack-api.md).
    let artifacts = platform.join("artifacts");
    fs::create_dir(&artifacts).at("create the folder", &artifacts)?;
    for (name, value) in user {
        write_unsynced(&folder.join(name), value.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// The files that the operator's settings name, at their own paths. Root's files may be root's alone: the app's uid gets its own copy of them.
fn show_settings(paths: &[PathBuf], site: &Site, scratch: &Path) -> Result<Vec<Mount>, PathError> {
    let mut shown = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let mut from = path.clone();
        if site.uid.is_some() && path.is_file() {
            from = scratch.join(format!("setting-{number}"));
            fs::copy(path, &from).at("copy", path)?;
            site.give(&from)?;
        }
        shown.push(Mount::Bind {
            from,
            to: path.clone(),
            read_only: true,
        });
    }
    Ok(shown)
}
