//! Which files a layer has: paths, with `*` within a name and `**` over folders.

/// Does the pattern match the path?
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    parts_match(&pattern, &path)
}

fn parts_match(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => {
            (0..=path.len()).any(|skipped| parts_match(rest, &path[skipped..]))
        }
        (Some((first, rest)), Some((name, names))) => {
            name_matches(first.as_bytes(), name.as_bytes()) && parts_match(rest, names)
        }
        _ => false,
    }
}

fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|skipped| name_matches(rest, &name[skipped..])),
        Some((letter, rest)) => name
            .split_first()
            .is_some_and(|(first, names)| first == letter && name_matches(rest, names)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_a_name_and_two_go_over_folders() {
        for (pattern, path) in [
            ("bin/ruby", "bin/ruby"),
            ("bin/*", "bin/ruby"),
            ("lib/**/*.so", "lib/a/b/c.so"),
            ("lib/**", "lib/a"),
            ("**", "a/b"),
            ("li*.so", "libx.so"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("bin/*", "bin/a/b"),
            ("bin", "bin/a"),
            ("*.so", "a.so.1"),
            ("lib/**/*.so", "lib/c.a"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }
}
