//! Slices as lifecycle cuts them: the cases of its `layers/slices_test.go`, as data.

use super::*;

/// Its line, the patterns of each slice, the files of each slice and then of the rest.
type Case = (
    u32,
    &'static [&'static [&'static str]],
    &'static [&'static [&'static str]],
);

/// lifecycle's `target-dir`; `-> ` is a link.
const APP: &[&str] = &[
    "dir-link -> ../dir-to-exclude",
    "file-link.txt -> ../dir-to-exclude/some-file.txt",
    "file.txt",
    "other-dir/other-file.md",
    "other-dir/other-file.txt",
    "some-dir/file.md",
    "some-dir/some-file.txt",
];

const CASES: &[Case] = &[
    (
        37,
        &[],
        &[&[
            "dir-link",
            "file-link.txt",
            "file.txt",
            "other-dir/other-file.md",
            "other-dir/other-file.txt",
            "some-dir/file.md",
            "some-dir/some-file.txt",
        ]],
    ),
    (
        193,
        &[
            &["*.txt", "**/*.txt"],
            &["other-dir"],
            &["dir-link/*"],
            &["../**/dir-to-exclude"],
        ],
        &[
            &[
                "file-link.txt",
                "file.txt",
                "other-dir/other-file.txt",
                "some-dir/some-file.txt",
            ],
            &["other-dir/other-file.md"],
            &[],
            &[],
            &["dir-link", "some-dir/file.md"],
        ],
    ),
    (
        383,
        &[&["some-dir/"]],
        &[
            &["some-dir/file.md", "some-dir/some-file.txt"],
            &[
                "dir-link",
                "file-link.txt",
                "file.txt",
                "other-dir/other-file.md",
                "other-dir/other-file.txt",
            ],
        ],
    ),
];

/// Cuts the app, which lies in a folder of that name; what each slice and the rest hold.
fn cut(name: &str, app: &[&str], slices: &[&[&str]]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join(name);
    let excluded = folder.path().join("dir-to-exclude");
    fs::create_dir_all(&excluded).unwrap();
    crate::sys::fs::write_atomic(&excluded.join("some-file.txt"), b"", 0o644).unwrap();
    for line in app {
        let (name, link) = line.split_once(" -> ").unwrap_or((line, ""));
        let path = source.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if link.is_empty() {
            crate::sys::fs::write_atomic(&path, b"", 0o644).unwrap();
        } else {
            std::os::unix::fs::symlink(link, &path).unwrap();
        }
    }
    let slices: Vec<Slice> = slices
        .iter()
        .map(|paths| Slice {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        })
        .collect();
    let folders = split(&source, &slices, &folder.path().join("slices")).unwrap();
    let all = folders.into_iter().chain([source]);
    all.map(|folder| files(&folder, &folder)).collect()
}

/// Files and links below a folder, sorted.
fn files(root: &Path, folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(files(root, &path));
        } else {
            found.push(path.strip_prefix(root).unwrap().display().to_string());
        }
    }
    found.sort();
    found
}

#[test]
fn rule_35_lifecycles_cases_of_slices() {
    for (line, slices, expected) in CASES {
        assert_eq!(cut("app", APP, slices), *expected, "slices_test.go:{line}");
    }
}

#[test]
fn rule_35_the_folder_of_the_app_is_no_pattern() {
    let name = "special-char-test-file.txt";
    let expected: [&[&str]; 2] = [&[name], &[]];
    assert_eq!(
        cut("target-di[r]", &[name], &[&["*"]]),
        expected,
        "slices_test.go:344"
    );
}
