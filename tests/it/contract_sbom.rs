//! SBOMs, as strangers' buildpacks write them: where they come to lie, and what
//! the next build finds of them (rules 31, 39, 46 and 50).

use std::fs;

use serde_json::{Value, json};

use crate::support::buildpack::{TAKE_ALL, arguments, buildpack, buildpack_of};
use crate::support::image::Image;
use crate::support::run::Run;
use crate::support::world::World;

fn world() -> World {
    let world = World::unprivileged();
    world.app("app", &[("file", "one\n")]);
    world
}

fn declaring(formats: &str) -> String {
    format!(
        "api = \"0.10\"\n[buildpack]\nid = \"test/one\"\nversion = \"1.0.0\"\nhomepage = \"https://example.org\"\nsbom-formats = [{formats}]\n"
    )
}

const CYCLONE: &str = "\"application/vnd.cyclonedx+json\"";

/// A build that makes a layer of each kind, each with an SBOM, and says which SBOMs it finds at its start.
const WRITES: &str = r#"
    ls "$1" | grep sbom | sed 's/^/found: /' || true
    if [ ! -e "$1/cached" ]; then
        for layer in cached only; do mkdir "$1/$layer"; echo x > "$1/$layer/file"; done
        for of in cached only; do echo "{\"of\":\"$of\"}" > "$1/$of.sbom.cdx.json"; done
    fi
    mkdir "$1/built" "$1/nothing"
    printf '[types]\ncache = true\nlaunch = true\n' > "$1/cached.toml"
    printf '[types]\nlaunch = true\n' > "$1/only.toml"
    printf '[types]\nbuild = true\n' > "$1/built.toml"
    printf '[types]\n' > "$1/nothing.toml"
    for of in built nothing launch build; do echo "{\"of\":\"$of\"}" > "$1/$of.sbom.cdx.json"; done"#;

/// A build in the compression of `Image::build`: another would make the layer that is for launch alone anew.
fn rebuild(world: &World) -> Run {
    let arguments = [&arguments(&["one"])[..], &["--compression", "gzip"]].concat();
    world.slug(&arguments)
}

#[test]
fn rule_39_the_sboms_of_launch_layers_are_a_layer_of_the_slug_that_no_process_sees() {
    let world = world();
    buildpack_of(&world, "one", &declaring(CYCLONE), TAKE_ALL, WRITES);
    let image = Image::build(&world, "one");
    let (found, metadata) = (image.sboms(), image.label("io.buildpacks.build.metadata"));
    let expected = [
        ("launch/test_one/cached/sbom.cdx.json", r#"{"of":"cached"}"#),
        ("launch/test_one/only/sbom.cdx.json", r#"{"of":"only"}"#),
        ("launch/test_one/sbom.cdx.json", r#"{"of":"launch"}"#),
    ];
    let expected = expected.map(|(place, text)| (place.to_owned(), text.to_owned()));
    assert_eq!(found, expected);
    assert_eq!(metadata["buildpacks"][0]["homepage"], "https://example.org");
    let inspect = || world.slug(&["inspect", "app.slug", "--sbom", "sboms"]);
    inspect().ok();
    inspect().code(2).says("is there already");
    let text = fs::read_to_string(world.path("sboms/test_one/only/sbom.cdx.json")).unwrap();
    assert_eq!(text, "{\"of\":\"only\"}\n");
    world.slug(&["release", "app.slug"]).ok();
    world
        .slug(&["run", "--", "test", "-e", "/layers/test_one/only/file"])
        .ok();
    world
        .slug(&["run", "--", "test", "-e", "/layers/sbom"])
        .code(1);
}

#[test]
fn rules_46_and_50_the_sboms_of_restored_layers_come_back_and_no_others() {
    let world = world();
    buildpack_of(&world, "one", &declaring(CYCLONE), TAKE_ALL, WRITES);
    rebuild(&world).code(0).says_not("found:");
    let again = rebuild(&world).code(0).stderr();
    let found: Vec<&str> = again
        .lines()
        .filter(|line| line.starts_with("found:"))
        .collect();
    assert_eq!(
        found,
        ["found: cached.sbom.cdx.json", "found: only.sbom.cdx.json"]
    );
    // They count again without being written again.
    assert_eq!(Image::build(&world, "one").sboms().len(), 3);
    let built = rebuild(&world).json()["built"].clone();
    let sbom = built["layers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|layer| layer["name"] == "sbom");
    assert_eq!(sbom.unwrap()["state"], "kept");
}

#[test]
fn rule_39_what_is_not_declared_is_refused_by_its_path() {
    let world = world();
    buildpack_of(
        &world,
        "one",
        &declaring("\"application/spdx+json\""),
        TAKE_ALL,
        WRITES,
    );
    world
        .slug(&arguments(&["one"]))
        .code(1)
        .says("`/layers/test_one/build.sbom.cdx.json`")
        .says("`sbom-formats`");
    let other = r#"echo '{}' > "$1/launch.sbom.xml.json""#;
    buildpack_of(&world, "one", &declaring(CYCLONE), TAKE_ALL, other);
    world
        .slug(&arguments(&["one"]))
        .code(1)
        .says("`/layers/test_one/launch.sbom.xml.json`");
}

#[test]
fn rule_39_what_is_no_plain_file_is_refused_by_its_path() {
    let world = world();
    for (script, said) in [
        (
            "ln -s /etc/passwd \"$1/launch.sbom.cdx.json\"",
            "a link stands where a file was expected",
        ),
        ("mkfifo \"$1/launch.sbom.cdx.json\"", "not a regular file"),
        (
            "head -c 67108865 /dev/zero > \"$1/launch.sbom.cdx.json\"",
            "larger than 67108864 bytes",
        ),
    ] {
        buildpack_of(&world, "one", &declaring(CYCLONE), TAKE_ALL, script);
        world
            .slug(&arguments(&["one"]))
            .code(1)
            .says("/layers/test_one/launch.sbom.cdx.json")
            .says(said);
    }
    let others =
        "mkdir \"$1/launch.sbom.cdx.json\"; echo '{}' > \"$1/$(printf '\\377').sbom.cdx.json\"";
    buildpack_of(&world, "one", &declaring(CYCLONE), TAKE_ALL, others);
    world.slug(&arguments(&["one"])).code(0).says("is ignored");
}

#[test]
fn rule_39_legacy_tables_become_one_file_with_a_warning_unless_there_are_sboms() {
    let world = world();
    let bom =
        r#"printf '[[bom]]\nname = "dep"\n[bom.metadata]\nversion = "2"\n' > "$1/launch.toml""#;
    buildpack_of(&world, "one", &declaring(CYCLONE), TAKE_ALL, bom);
    world
        .slug(&arguments(&["one"]))
        .code(0)
        .says("deprecated since Buildpack API 0.7");
    let found = Image::build(&world, "one").sboms();
    let entry = json!([{
        "name": "dep",
        "metadata": { "version": "2" },
        "buildpack": { "id": "test/one", "version": "1.0.0" },
    }]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "launch/sbom.legacy.json");
    assert_eq!(serde_json::from_str::<Value>(&found[0].1).unwrap(), entry);
    let both = format!("{bom}; echo '{{}}' > \"$1/launch.sbom.cdx.json\"");
    buildpack_of(&world, "one", &declaring(CYCLONE), TAKE_ALL, &both);
    world
        .slug(&arguments(&["one"]))
        .code(0)
        .says_not("deprecated");
}

#[test]
fn rule_31_what_a_buildpack_puts_where_sboms_are_laid_out_is_not_taken() {
    let world = world();
    let tries = r#"mkdir -p /layers/sbom/launch 2>/dev/null && echo '{}' > /layers/sbom/launch/sbom.cdx.json || true"#;
    buildpack(&world, "one", TAKE_ALL, tries);
    buildpack(&world, "two", TAKE_ALL, "[ ! -e /layers/sbom ]");
    world.slug(&arguments(&["one", "two"])).code(0);
    assert_eq!(Image::build(&world, "one").sboms(), []);
    world
        .slug(&["inspect", "app.slug", "--sbom", "sboms"])
        .code(1)
        .says("has no SBOMs");
    assert!(!world.path("sboms").exists());
}
