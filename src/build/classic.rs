//! Classic buildpacks of a build: gathered from the references of its order,
//! laid beside the descriptor of `slug/classic`, which runs them as one member.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::BuildError;
use super::error::ClassicsMisplaced;
use super::site::SLUG;
use super::tree::copy_tree;
use crate::buildpack::author::BuiltIn;
use crate::buildpack::classic::{FILE, ID, Pack, Packs, is_classic};
use crate::buildpack::order::{Group, Member};
use crate::ident::BuildpackId;
use crate::layer::toml_file;
use crate::sys::fs::{read_plain, write_unsynced};
use crate::sys::{At as _, PathError};

/// The largest descriptor that is looked into, in bytes.
const DESCRIPTOR_BYTES_MAX: u64 = 1 << 20;
/// What a pack's programs are; many are kept in archives that lose the mode.
const PROGRAMS: [&str; 3] = ["bin/detect", "bin/compile", "bin/release"];

/// The classic buildpacks of a build, in the order in which they are named.
#[derive(Debug, Default)]
pub(super) struct Classics {
    found: Vec<Found>,
    /// Those that the order names, as places in `found`.
    list: Vec<usize>,
}

#[derive(Debug)]
struct Found {
    name: String,
    folder: PathBuf,
    revision: Option<String>,
}

impl Classics {
    /// Takes a folder in, if it is a classic buildpack; the member that runs it.
    pub(super) fn take(
        &mut self,
        folder: &Path,
        name: &str,
        revision: Option<&str>,
    ) -> Result<Option<Member>, BuildError> {
        let text = read_plain(&folder.join("buildpack.toml"), DESCRIPTOR_BYTES_MAX)?;
        let text = text.map(|text| String::from_utf8_lossy(&text).into_owned());
        if !is_classic(folder, text.as_deref()) {
            return Ok(None);
        }
        self.found.push(Found {
            name: name.to_owned(),
            folder: folder.to_owned(),
            revision: revision.map(str::to_owned),
        });
        Ok(Some(Member {
            id: id()?,
            version: Some((self.found.len() - 1).to_string()), // until the order is settled
            optional: false,
            exec_env: Vec::new(),
        }))
    }

    /// Are there any? Then the app lies at `/app`.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Makes one member of those that stand beside each other. They share a cache and an environment, and a later one may
    /// detect what an earlier one made, so another buildpack cannot stand between them.
    pub(super) fn settle(&mut self, order: &mut [Group]) -> Result<(), BuildError> {
        let id = id()?;
        for group in order {
            let members = &mut group.members;
            let is_classic = |member: &Member| member.id == id;
            let Some(first) = members.iter().position(is_classic) else {
                continue;
            };
            let run: Vec<&Member> = members[first..]
                .iter()
                .take_while(|member| is_classic(member))
                .collect();
            let (list, end) = (places(&run), first + run.len());
            let is_optional = run.len() > 1 && run.iter().any(|member| member.optional);
            if members[end..].iter().any(is_classic) {
                return Err(self.misplaced(ClassicsMisplaced::Apart));
            } else if is_optional {
                return Err(self.misplaced(ClassicsMisplaced::Optional));
            } else if !self.list.is_empty() && self.list != list {
                return Err(self.misplaced(ClassicsMisplaced::Several));
            }
            self.list = list;
            members[first].version = None;
            members.drain(first + 1..end);
        }
        Ok(())
    }

    fn misplaced(&self, why: ClassicsMisplaced) -> BuildError {
        let packs = self.found.iter().map(|pack| pack.name.clone()).collect();
        BuildError::Classics { packs, why }
    }

    /// Writes the folder of the buildpack that runs them.
    pub(super) fn lay_out(&self, built_in: &BuiltIn, to: &Path) -> Result<(), PathError> {
        let bin = to.join("bin");
        fs::create_dir_all(&bin).at("create the folder", &bin)?;
        let descriptor = to.join("buildpack.toml");
        write_unsynced(&descriptor, built_in.descriptor.as_bytes(), 0o644)?;
        for program in ["detect", "build"] {
            let link = bin.join(program);
            symlink(SLUG, &link).at("create the link", &link)?;
        }
        let mut packs = Packs::default();
        for (number, place) in self.list.iter().enumerate() {
            let found = &self.found[*place];
            let folder = format!("packs/{number}");
            copy_pack(&found.folder, &to.join(&folder))?;
            packs.packs.push(Pack {
                name: found.name.clone(),
                folder,
                revision: found.revision.clone(),
            });
        }
        toml_file::write(&to.join(FILE), &packs)
    }
}

/// Where they stand in `found`: what `take` gave for a version.
fn places(run: &[&Member]) -> Vec<usize> {
    let place = |member: &&Member| member.version.as_ref()?.parse().ok();
    run.iter().filter_map(place).collect()
}

/// What a user called it, without what says where it lies: `heroku-buildpack-apt`.
pub(super) fn short_name(reference: &str) -> String {
    let path = reference.split('#').next().unwrap_or_default();
    let last = path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(path);
    let endings = [".git", ".tgz", ".tar.gz"];
    let bare = endings.iter().find_map(|ending| last.strip_suffix(ending));
    bare.unwrap_or(last).to_owned()
}

fn id() -> Result<BuildpackId, BuildError> {
    ID.parse()
        .map_err(|_| BuildError::NoSuchBuildpack(ID.to_owned()))
}

/// Readable by the app's uid, whatever the checkout's umask, and without its history.
fn copy_pack(from: &Path, to: &Path) -> Result<(), PathError> {
    fs::create_dir_all(to).at("create the folder", to)?;
    for entry in fs::read_dir(from).at("read", from)? {
        let entry = entry.at("read", from)?;
        if entry.file_name() != ".git" {
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    make_readable(to)?;
    for program in PROGRAMS.map(|program| to.join(program)) {
        if program.is_file() {
            fs::set_permissions(&program, Permissions::from_mode(0o755))
                .at("set the mode of", &program)?;
        }
    }
    Ok(())
}

fn make_readable(path: &Path) -> Result<(), PathError> {
    let found = path.symlink_metadata().at("look at", path)?;
    if found.is_symlink() {
        return Ok(());
    }
    let is_executable = found.is_dir() || found.permissions().mode() & 0o100 != 0;
    let mode = if is_executable { 0o755 } else { 0o644 };
    fs::set_permissions(path, Permissions::from_mode(mode)).at("set the mode of", path)?;
    if found.is_dir() {
        for entry in fs::read_dir(path).at("read", path)? {
            make_readable(&entry.at("read", path)?.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_is_called_by_the_last_part_of_what_names_it() {
        for (reference, expected) in [
            ("/srv/packs/mine", "mine"),
            ("/srv/packs/mine/", "mine"),
            (
                "https://example.org/a/heroku-buildpack-apt.git#v1",
                "heroku-buildpack-apt",
            ),
            ("git@example.org:me/pack.git", "pack"),
            ("./pack.tgz", "pack"),
        ] {
            assert_eq!(short_name(reference), expected);
        }
    }

    #[test]
    fn they_are_one_member_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        write_unsynced(&folder.path().join("bin/compile"), b"", 0o755).unwrap();
        // `o` is another buildpack, a digit a classic one, `?` makes what stands before it optional.
        let settled = |groups: &[&str]| {
            let mut classics = Classics::default();
            let mut taken = Vec::new();
            for name in ["zero", "one"] {
                taken.push(classics.take(folder.path(), name, None).unwrap().unwrap());
            }
            let other = Member {
                id: "a/b".parse().unwrap(),
                version: None,
                ..taken[0].clone()
            };
            let mut order = Vec::new();
            for group in groups {
                let mut members: Vec<Member> = Vec::new();
                for letter in group.chars() {
                    match letter {
                        '?' => members.last_mut().unwrap().optional = true,
                        'o' => members.push(other.clone()),
                        digit => members.push(taken[digit.to_digit(10).unwrap() as usize].clone()),
                    }
                }
                order.push(Group { members });
            }
            match classics.settle(&mut order) {
                Ok(()) => {
                    let counts = order.iter().map(|group| group.members.len());
                    format!("{:?} {:?}", counts.collect::<Vec<_>>(), classics.list)
                }
                Err(BuildError::Classics { why, .. }) => format!("{why:?}"),
                Err(error) => panic!("{error}"),
            }
        };
        for (groups, expected) in [
            (&["01o"][..], "[2] [0, 1]"),
            (&["o10"], "[2] [1, 0]"),
            (&["oo"], "[2] []"),
            (&["0?o", "o"], "[2, 1] [0]"),
            (&["01", "o01"], "[1, 2] [0, 1]"),
            (&["0o1"], "Apart"),
            (&["01?"], "Optional"),
            (&["0", "1"], "Several"),
        ] {
            assert_eq!(settled(groups), expected, "{groups:?}");
        }
    }
}
