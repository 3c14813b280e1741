//! The interpreter's notes on how it was built, which C extensions are built
//! by: `_sysconfigdata*.py`.

use std::path::Path;
use std::path::PathBuf;

use crate::buildpack::author::Failure;
use crate::buildpack::author::read_text;
use crate::buildpack::author::write;

use super::tree;

/// Puts this prefix where they name the one that the interpreter was built for.
pub(super) fn move_to(library: &Path, root: &Path) -> Result<(), Failure> {
    let is_data = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"_sysconfigdata"))
    };
    for path in tree::files(library, &|_| false)?
        .into_iter()
        .filter(is_data)
    {
        let text = read_text(&path)?.unwrap_or_default();
        let Some(prefix) = quoted_after(&text, "'prefix': '") else {
            continue;
        };
        // `/usr` stands in too many other paths, and an app's own build needs none of what it names.
        if prefix.len() > 1 && prefix != "/usr" {
            write(
                &path,
                replace_path(&text, prefix, &root.display().to_string()).as_bytes(),
            )?;
        }
    }
    Ok(())
}

/// Replaces a folder where it stands for itself or begins a path, and not where it ends another path
/// (`/install` in `/usr/bin/install -c`).
fn replace_path(text: &str, from: &str, to: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let begins = after.starts_with('/') || before.ends_with(['\'', '"', '=', ' ', ':']);
        let whole = !after.starts_with(|next: char| next.is_alphanumeric() || "._-".contains(next));
        replaced.push_str(before);
        replaced.push_str(if begins && whole { to } else { from });
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

fn quoted_after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let rest = &text[text.find(key)? + key.len()..];
    rest.split('\'').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_prefix_is_replaced_where_it_is_one() {
        let text = "'prefix': '/install', '-I/install/include', '--prefix=/install', '/usr/bin/install -c', '/install2'";
        let expect =
            "'prefix': '/l', '-I/l/include', '--prefix=/l', '/usr/bin/install -c', '/install2'";
        assert_eq!(replace_path(text, "/install", "/l"), expect);
    }
}
