//! The source of a build: which files belong to the app.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::project_toml::ProjectToml;
use super::report::Commit;
use super::slug_toml::SlugToml;
use super::workspace::{Copied, copy};
use super::{BuildError, BuildRequest, git, heroku};
use crate::layer::Env;
use crate::sys::fs::read_plain;
use crate::sys::{At as _, PathError};

/// The most files of an app.
pub(super) const FILES_MAX: usize = 500_000;
/// The largest `.slugignore`, in bytes.
const IGNORE_BYTES_MAX: u64 = 1024 * 1024;
/// 1980-01-01T00:00:01Z, in seconds since 1970: the time of every file of an app in its build.
/// zip cannot hold earlier ones, and wheels are zips.
pub(super) const SOURCE_DATE_EPOCH: u64 = 315_532_801;

/// An app's files and what they say about its build.
#[derive(Debug)]
pub(super) struct Source {
    folder: PathBuf,
    /// Relative to the folder, sorted.
    pub(super) files: Vec<PathBuf>,
    /// The commit, in a git work tree.
    pub(super) commit: Option<Commit>,
    /// `slug.toml`.
    pub(super) slug_toml: SlugToml,
    /// `project.toml`.
    pub(super) project: ProjectToml,
    /// What the author should know.
    pub(super) warnings: Vec<String>,
}

impl Source {
    /// Lists the app in that folder: in a git work tree the tracked files and the untracked ones that git does
    /// not ignore, elsewhere all; without `.git`, without the app's own `.env`, and without what
    /// `.slugignore` and `project.toml` leave out.
    pub(super) fn read(request: &BuildRequest) -> Result<Self, BuildError> {
        let folder = &request.source;
        if !folder.is_dir() {
            return Err(BuildError::NoSource(folder.clone()));
        }
        let is_built_in = |id: &str| request.built_ins.has(id);
        let project = ProjectToml::read(folder, &request.exec_env, &is_built_in)?;
        Self::list(folder, &request.operator_env, project)
    }

    fn list(
        folder: &Path,
        operator_env: &Env,
        mut project: ProjectToml,
    ) -> Result<Self, BuildError> {
        let (mut slug_toml, mut warnings) = SlugToml::read(folder)?;
        warnings.append(&mut project.warnings);
        let mut declared = heroku::contract(folder)?;
        warnings.append(&mut declared.warnings);
        slug_toml.add_contract(declared.env);
        let mut lister = Lister {
            filter: Filter::read(folder, &project)?,
            folder,
            operator_env,
            files: BTreeSet::new(),
            warnings: &mut warnings,
        };
        let commit = lister.list(Path::new(""))?;
        let files: Vec<PathBuf> = lister.files.into_iter().collect();
        if files.is_empty() {
            return Err(BuildError::EmptySource(folder.to_owned()));
        }
        Ok(Self {
            folder: folder.to_owned(),
            files,
            commit,
            slug_toml,
            project,
            warnings,
        })
    }

    /// Copies the files into an empty folder; `workspace::copy` says how.
    pub(super) fn copy_to(
        &self,
        workspace: &Path,
        owner: Option<u32>,
        scratch: &Path,
    ) -> Result<Copied, PathError> {
        copy(&self.folder, &self.files, workspace, owner, scratch)
    }
}

/// What is left out on purpose.
#[derive(Debug)]
struct Filter {
    /// `.slugignore`, and `exclude` of project.toml.
    excluded: Vec<Gitignore>,
    /// `include` of project.toml.
    included: Option<Gitignore>,
}

impl Filter {
    fn read(folder: &Path, project: &ProjectToml) -> Result<Self, BuildError> {
        let path = folder.join(".slugignore");
        let text = read_plain(&path, IGNORE_BYTES_MAX)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let project_path = folder.join("project.toml");
        let excluded = vec![
            patterns(&path, text.lines())?,
            patterns(&project_path, project.exclude.iter().map(String::as_str))?,
        ];
        let included = match project.include.as_slice() {
            [] => None,
            include => Some(patterns(&project_path, include.iter().map(String::as_str))?),
        };
        Ok(Self { excluded, included })
    }

    /// Is the file, or a folder on the way to it, left out?
    fn leaves_out(&self, path: &Path, is_folder: bool) -> bool {
        let is_git = path
            .components()
            .any(|part| part == Component::Normal(OsStr::new(".git")));
        let matches = |patterns: &Gitignore| {
            patterns
                .matched_path_or_any_parents(path, is_folder)
                .is_ignore()
        };
        // What `slug build -o app.slug` wrote is no source: the next build would hold it.
        let is_slug = path.extension() == Some(OsStr::new("slug"))
            && path.parent() == Some(Path::new(""))
            && !is_folder;
        is_git
            || is_slug
            || path == Path::new(".env")
            || self.excluded.iter().any(matches)
            || (!is_folder
                && self
                    .included
                    .as_ref()
                    .is_some_and(|patterns| !matches(patterns)))
    }
}

/// Patterns relative to the app, whose folder is the root here.
fn patterns<'a>(
    path: &Path,
    lines: impl Iterator<Item = &'a str>,
) -> Result<Gitignore, BuildError> {
    let bad = |error: ignore::Error| BuildError::BadPattern {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let mut builder = GitignoreBuilder::new("");
    for line in lines {
        builder.add_line(None, line).map_err(bad)?;
    }
    builder.build().map_err(bad)
}

/// Finds the files of an app.
struct Lister<'a> {
    folder: &'a Path,
    operator_env: &'a Env,
    filter: Filter,
    files: BTreeSet<PathBuf>,
    warnings: &'a mut Vec<String>,
}

impl Lister<'_> {
    /// Lists what is below `at`; its commit, if it is a git work tree.
    fn list(&mut self, at: &Path) -> Result<Option<Commit>, BuildError> {
        let folder = self.folder.join(at);
        if !git::is_work_tree(&folder) {
            self.walk(at)?;
            return Ok(None);
        }
        let work_tree = git::read(&folder, self.operator_env)?;
        for name in work_tree.files {
            self.add_listed(&at.join(name))?;
        }
        Ok(work_tree.commit)
    }

    /// Takes a file that git listed. A folder is another repository: a submodule, or one that lies there untracked.
    fn add_listed(&mut self, path: &Path) -> Result<(), BuildError> {
        let full = self.folder.join(path);
        match full.symlink_metadata() {
            Ok(found) if found.is_dir() => {
                // An empty folder of a submodule that was not checked out has no `.git` of its own.
                if full.join(".git").exists() && !self.filter.leaves_out(path, true) {
                    self.list(path)?;
                }
                Ok(())
            }
            Ok(found) => self.add(path, found.file_type()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).at("look at", &full)?,
        }
    }

    fn walk(&mut self, at: &Path) -> Result<(), BuildError> {
        let folder = self.folder.join(at);
        for entry in fs::read_dir(&folder).at("read", &folder)? {
            let entry = entry.at("read", &folder)?;
            let path = at.join(entry.file_name());
            let kind = entry.file_type().at("look at", &entry.path())?;
            if !kind.is_dir() {
                self.add(&path, kind)?;
            } else if !self.filter.leaves_out(&path, true) {
                self.walk(&path)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, kind: fs::FileType) -> Result<(), BuildError> {
        if self.filter.leaves_out(path, false) {
            return Ok(());
        }
        if !kind.is_file() && !kind.is_symlink() {
            self.warnings.push(format!(
                "`{}` is neither a file nor a link: left out",
                path.display()
            ));
            return Ok(());
        }
        self.files.insert(path.to_owned());
        if self.files.len() > FILES_MAX {
            return Err(BuildError::TooManyFiles {
                path: self.folder.to_owned(),
                max: FILES_MAX,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::process::Command;
    use std::time::SystemTime;

    use super::*;
    use crate::buildpack::ExecEnv;

    /// A folder with these files; `-> target` is a link, `+x` at the end of a name an executable.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name.trim_end_matches("+x"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if let Some(target) = text.strip_prefix("-> ") {
                symlink(target, &path).unwrap();
            } else {
                let mode = if name.ends_with("+x") { 0o700 } else { 0o600 };
                crate::sys::fs::write_atomic(&path, text.as_bytes(), mode).unwrap();
            }
        }
        folder
    }

    fn operator_env() -> Env {
        let path = std::env::join_paths(["/usr/local/bin", "/usr/bin", "/bin"]).unwrap();
        Env::from([
            ("PATH".into(), path),
            ("HOME".into(), "/nonexistent".into()),
        ])
    }

    fn read(folder: &Path) -> Source {
        {
            let project = ProjectToml::read(folder, &ExecEnv::default(), &|_| false).unwrap();
            Source::list(folder, &operator_env(), project).unwrap()
        }
    }

    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let folder = folder(files);
        let shown: Vec<_> = read(folder.path())
            .files
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        assert_eq!(shown, expected);
    }

    fn git(folder: &Path, args: &[&str]) {
        let mut command = Command::new("git");
        command.args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "-c",
            "init.defaultBranch=main",
        ]);
        let output = command.arg("-C").arg(folder).args(args).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    #[test]
    fn a_folder_is_taken_whole_but_for_git_the_apps_env_file_and_slugs_of_it() {
        check(
            &[
                ("a", ""),
                (".env", "S=1"),
                ("app.slug", ""),
                ("b/.env", ""),
                ("b/c", "-> /etc/passwd"),
                ("sub/.git/config", ""),
            ],
            &["a", "b/.env", "b/c"],
        );
    }

    #[test]
    fn slugignore_has_the_grammar_of_gitignore() {
        check(
            &[
                (".slugignore", "*.md\n!KEEP.md\n/docs/\nlib/**/x\n"),
                ("A.md", ""),
                ("KEEP.md", ""),
                ("docs/a", ""),
                ("in/docs/a", ""),
                ("lib/a/b/x", ""),
            ],
            &[".slugignore", "KEEP.md", "in/docs/a"],
        );
    }

    #[test]
    fn project_toml_includes_or_excludes() {
        let exclude = "[_]\nschema-version = \"0.2\"\n[io.buildpacks]\nexclude = [\"a/\", \"project.toml\"]\n";
        check(&[("project.toml", exclude), ("a/b", ""), ("c", "")], &["c"]);
        let include = "[_]\nschema-version = \"0.2\"\n[io.buildpacks]\ninclude = [\"a/\"]\n";
        check(
            &[("project.toml", include), ("a/b", ""), ("c", "")],
            &["a/b"],
        );
    }

    #[test]
    fn a_git_work_tree_is_what_git_tracks_or_does_not_ignore() {
        let folder = folder(&[
            (".gitignore", "ignored\n*.log\n"),
            ("tracked", ""),
            ("gone", ""),
            ("kept.log", ""),
        ]);
        git(folder.path(), &["init", "-q"]);
        git(folder.path(), &["add", "-f", "."]);
        git(folder.path(), &["commit", "-qm", "one"]);
        assert_eq!(
            read(folder.path()).commit.map(|commit| commit.dirty),
            Some(false)
        );
        fs::remove_file(folder.path().join("gone")).unwrap();
        for name in ["ignored", "new\n\u{e9}", "a.log"] {
            crate::sys::fs::write_atomic(&folder.path().join(name), b"", 0o644).unwrap();
        }
        let source = read(folder.path());
        let shown: Vec<_> = source
            .files
            .iter()
            .map(|path| path.to_str().unwrap())
            .collect();
        assert_eq!(shown, [".gitignore", "kept.log", "new\n\u{e9}", "tracked"]);
        let commit = source.commit.unwrap();
        assert_eq!((commit.id.len(), commit.dirty), (40, true));
    }

    #[test]
    fn a_part_of_a_work_tree_is_that_part() {
        let folder = folder(&[("a", ""), ("app/b", ""), ("app/inner/c", "")]);
        git(folder.path(), &["init", "-q"]);
        git(folder.path(), &["init", "-q", "app/inner"]);
        let source = read(&folder.path().join("app"));
        assert_eq!(source.files, ["b", "inner/c"].map(PathBuf::from));
    }

    #[test]
    fn a_source_without_files_is_refused() {
        let empty = tempfile::tempdir().unwrap();
        let error = Source::list(empty.path(), &operator_env(), ProjectToml::default());
        assert!(matches!(error.unwrap_err(), BuildError::EmptySource(_)));
    }

    #[test]
    fn a_copy_does_not_depend_on_modes_and_times() {
        let folder = folder(&[("run+x", "1"), ("d/file", "2"), ("link", "-> /nowhere")]);
        let workspace = tempfile::tempdir().unwrap();
        read(folder.path())
            .copy_to(workspace.path(), None, folder.path())
            .unwrap();
        let mode = |name: &str| {
            workspace
                .path()
                .join(name)
                .symlink_metadata()
                .unwrap()
                .permissions()
                .mode()
                & 0o7777
        };
        assert_eq!(
            (mode("run"), mode("d/file"), mode("d"), mode("")),
            (0o755, 0o644, 0o755, 0o755)
        );
        let time = workspace
            .path()
            .join("run")
            .metadata()
            .unwrap()
            .modified()
            .unwrap();
        assert_eq!(
            time.duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                .as_secs(),
            SOURCE_DATE_EPOCH
        );
        assert_eq!(
            fs::read_link(workspace.path().join("link")).unwrap(),
            Path::new("/nowhere")
        );
    }

    #[test]
    fn what_is_neither_file_nor_link_is_left_out_and_said() {
        let folder = folder(&[("a", "")]);
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let source = read(folder.path());
        assert_eq!((source.files.len(), source.warnings.len()), (1, 1));
    }
}
