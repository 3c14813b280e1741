use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;

fn read(text: &str) -> Result<ProjectToml, BuildError> {
    read_for(text, "production")
}

fn read_for(text: &str, exec_env: &str) -> Result<ProjectToml, BuildError> {
    let folder = tempfile::tempdir().unwrap();
    crate::sys::fs::write_atomic(&folder.path().join("project.toml"), text.as_bytes(), 0o644)
        .unwrap();
    ProjectToml::read(folder.path(), &exec_env.parse().unwrap(), &|id| {
        id == "slug/python"
    })
}

fn new(version: &str, more: &str) -> String {
    format!("[_]\nschema-version = \"{version}\"\n{more}")
}

/// What is wrong, without the path of the file.
fn check(texts: &[&str], expected: &Expect) {
    let mut said = String::new();
    for text in texts {
        let line = match read(text) {
            Ok(read) if read.warnings.is_empty() => "fine".to_owned(),
            Ok(read) => read.warnings.join("\n"),
            Err(error) => {
                let error = error.to_string();
                error.split_once("`, ").unwrap().1.to_owned()
            }
        };
        writeln!(said, "{line}").unwrap();
    }
    expected.assert_eq(&said);
}

#[test]
fn both_schemas_are_read() {
    let old = read("[project]\nid = \"x\"\n[build]\nexclude = [\"*.md\"]\n[[build.env]]\nname = \"A\"\nvalue = \"1\"\n[[build.buildpacks]]\nid = \"a/b\"\nversion = \"1\"\n").unwrap();
    let text = "[io.buildpacks]\nexclude = [\"*.md\"]\n[[io.buildpacks.build.env]]\nname = \"A\"\nvalue = \"1\"\n[[io.buildpacks.group]]\nid = \"a/b\"\nversion = \"1\"\n";
    assert_eq!(read(&new("0.2", text)).unwrap(), old);
    assert_eq!(
        (old.exclude.len(), old.env.len(), old.group.len()),
        (1, 1, 1)
    );
    assert_eq!(read("").unwrap(), ProjectToml::default());
}

/// The keys that pack's own tests read (`pkg/project/project_test.go`).
#[test]
fn what_pack_reads_is_read() {
    let text = "name = \"gallant 0.2\"\nversion = \"1.0.2\"\nsource-url = \"https://example.com/pack\"\n[[_.licenses]]\ntype = \"MIT\"\n[_.metadata]\npipeline = \"Lucerne\"\n[io.buildpacks]\nbuilder = \"b\"\nexclude = [ \"*.jar\" ]\n[[io.buildpacks.pre.group]]\nid = \"pre\"\n[[io.buildpacks.post.group]]\nuri = \"post\"\n[[io.buildpacks.group]]\nid = \"example/lua\"\nversion = \"latest\"\n[[io.buildpacks.group]]\nuri = \"slug/python\"\n[[io.buildpacks.build.env]]\nname = \"JAVA_OPTS\"\nvalue = \"-Xmx300m\"\n[[io.buildpacks.env.build]]\nname = \"JAVA_OPTS\"\nvalue = \"deprecated\"\n[io.docker]\nfile = \"x\"\n";
    let found = read(&new("0.2", text)).unwrap();
    assert_eq!(found.warnings, Vec::<String>::new());
    assert_eq!(
        (found.pre.len(), found.group.len(), found.post.len()),
        (1, 2, 1)
    );
    assert_eq!(
        found.env["JAVA_OPTS".as_ref() as &std::ffi::OsStr],
        "-Xmx300m"
    );
    assert_eq!(
        found.metadata().unwrap().to_string(),
        r#"{"metadata":{"url":"https://example.com/pack"},"type":"project","version":{"declared":"1.0.2"}}"#
    );
    let old = "[[io.buildpacks.env.build]]\nname = \"A\"\nvalue = \"1\"\n";
    assert_eq!(read(&new("0.2", old)).unwrap().env.len(), 1);
}

#[test]
fn the_example_of_the_spec_is_read() {
    let page = include_str!("../../../spec/project.md");
    let example = page.split("```toml\n").nth(1).unwrap();
    let found = read(example.split("```").next().unwrap()).unwrap();
    assert_eq!(found.warnings, Vec::<String>::new());
    assert_eq!((found.group.len(), found.pre.len()), (3, 1));
    assert!(found.env.is_empty() && found.metadata().is_some());
}

#[test]
fn rule_9_what_is_for_another_execution_environment_counts_as_not_written() {
    let text = new(
        "0.3",
        "[[io.buildpacks.build.env]]\nname = \"A\"\nvalue = \"1\"\nexec-env = [\"test\"]\n[[io.buildpacks.group]]\nid = \"a\"\nexec-env = [\"test\"]\n",
    );
    let production: ExecEnv = ExecEnv::default();
    let test: ExecEnv = "test".parse().unwrap();
    assert!(read(&text).unwrap().env.is_empty());
    assert_eq!(read_for(&text, "test").unwrap().env.len(), 1);
    let listed = &read(&text).unwrap().group[0];
    assert!(listed.is_meant_for(&test) && !listed.is_meant_for(&production));
}

#[test]
fn what_the_schema_does_not_know_is_said_with_its_place() {
    check(
        &[
            "[project]\nauthors = [\"a\"]\nnmae = \"x\"\n[metadata]\nfoo = 1\n",
            "[[io.buildpacks.build.env]]\nname = \"A\"\nvalue = \"1\"\n[io.docker]\nx = 1\n",
            &new(
                "0.2",
                "versions = \"1\"\n[[_.licenses]]\ntype = \"MIT\"\nfoo = 1\n[[io.buildpacks.build.foo]]\nname = \"a\"\n[_.metadata.a]\nb = 1\n[build]\n",
            ),
            &new(
                "0.2",
                "[[io.buildpacks.group]]\nid = \"a\"\nexec-env = [\"test\"]\n",
            ),
        ],
        &expect![[r#"
            project.toml, line 3, column 1: the key `project.nmae` is unknown (did you mean `name`?)
            project.toml, line 1, column 6: `io.buildpacks` needs `schema-version = "0.2"` in `[_]`, and is ignored
            project.toml, line 3, column 1: the key `_.versions` is unknown (did you mean `version`?)
            project.toml, line 6, column 1: the key `_.licenses.foo` is unknown
            project.toml, line 7, column 23: the key `io.buildpacks.build.foo` is unknown
            project.toml, line 11, column 2: `build` is of schema 0.1, and is ignored
            project.toml, line 5, column 12: `exec-env` needs `schema-version = "0.3"`, and is ignored
        "#]],
    );
}

#[test]
fn what_cannot_be_is_refused_with_its_place_and_what_to_write() {
    let group = |more: &str| new("0.2", &format!("[[io.buildpacks.group]]\n{more}\n"));
    check(
        &[
            "[build\n",
            "[_]\nschema-version = \"0.4\"\n",
            "[build]\ninclude = []\nexclude = []\n",
            "[[build.env]]\nname = \"A=B\"\nvalue = \"1\"\n",
            "[[build.env]]\nname = \"A\"\nvalue = \"1\\u0000\"\n",
            "[[build.env]]\nname = \"A\"\n",
            "[build]\nenv = 1\n",
            "[[build.buildpacks]]\nversion = \"1.2.3\"\n",
            &group(""),
            &group("id = \"app\""),
            &group("uri = \"https://example.com/buildpack\"\nversion = \"1.2.3\""),
            &group("uri = \"https://example.com/buildpack\""),
            &group("uri = \"docker://a/b\""),
            &group("uri = \"a\"\nscript = { api = \"0.10\", inline = \"x\" }"),
            &group("script = { api = \"0.10\", inline = \"x\" }"),
            &group("id = \"a\"\nscript = { inline = \"x\" }"),
            &group("id = \"a\"\nscript = { api = \"0.10\" }"),
            &group("id = \"a\"\nscript = { api = \"0.5\", inline = \"x\" }"),
            &group("id = \"a\"\nscript = { api = \"0.10\", inline = \"x\", shell = \"bash\" }"),
        ],
        &expect![[r#"
            line 1, column 7: unclosed table, expected `]`
            line 2, column 18: the schema "0.4" is not known (expected 0.1, 0.2 or 0.3)
            line 3, column 11: `include` and `exclude` exclude one another (expected one of them)
            line 2, column 8: "A=B" cannot be the name of a variable (expected no `/`, `=` and NUL)
            line 3, column 9: this cannot be the value of a variable (expected less than 128 KiB without NUL)
            line 1, column 1: missing field `value`
            line 2, column 7: invalid type: integer `1`, expected variables, each with `name` and `value`
            line 1, column 1: a buildpack without a name (expected `id`, `id` and `version`, `uri`, or `id` and `script`)
            line 3, column 1: a buildpack without a name (expected `id`, `id` and `version`, `uri`, or `id` and `script`)
            line 4, column 6: `app` is not the id of a buildpack (expected letters, digits, `.`, `/`, `-` and `_`, none of app, config, generated, sbom)
            line 5, column 11: `version` beside `uri`, where the buildpack states its own (expected `uri`, or `id` and `version`)
            line 4, column 7: `https://example.com/buildpack` has no digest (expected `https://example.com/buildpack#sha256=` and 64 hex digits; `curl -L https://example.com/buildpack | sha256sum` prints them, of bytes that you trust)
            line 4, column 7: `docker://a/b` is an image of a registry, and slug does not pull images (write its buildpack to a file, `skopeo copy docker://a/b oci-archive:buildpack.cnb`, and name that file)
            line 5, column 10: `script` beside `uri` (expected one of them)
            line 4, column 10: `script` without an `id` (expected a name for the buildpack, such as `id = "my/script"`)
            line 5, column 10: `script` without `api` (expected the Buildpack API, such as `api = "0.10"`)
            line 5, column 10: `script` without `inline` (expected the text of the script)
            line 5, column 18: Buildpack API `0.5` is not supported (supported are 0.7 to 0.12)
            line 5, column 48: "bash" is not an interpreter (expected an absolute path, such as `/bin/bash`)
        "#]],
    );
}
