//! Runs the console blocks of `README.md` and `spec/*.md`: what a reader types does what the page says.
//!
//! In a block, `$ ` begins a command and `> ` goes on with it; the lines after it are all that it says, stdout and
//! stderr together. `...` stands for any lines, `[..]` for any text in a line, and a last line `[exit 3]` for another
//! exit code than 0. The commands of a file share one shell, in a folder with `tests/apps`. `slug up` runs until the
//! file ends, on an address of its own in place of 127.0.0.1:8080.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use slug::buildpack::descriptor::Descriptor;
use slug::buildpack::plan::BuildPlan;
use slug::logs;
use slug::sys::fetch::Artifact;
use slug::workshop::Expectation;

use crate::support::address;
use crate::support::apps;
use crate::support::world::World;

/// A command and what it must say.
struct Example {
    line: usize,
    command: String,
    expected: Vec<String>,
    exit: i32,
}

#[test]
fn readme_is_true() {
    check(Path::new("README.md"));
}

#[test]
fn the_spec_of_the_command_line_is_true() {
    check(Path::new("spec/cli.md"));
}

#[test]
fn the_spec_of_one_offs_is_true() {
    check(Path::new("spec/one-offs.md"));
}

#[test]
fn the_spec_of_project_toml_is_true() {
    check(Path::new("spec/project.md"));
}

#[test]
fn the_spec_of_classic_buildpacks_is_true() {
    check(Path::new("spec/classic.md"));
}

#[test]
fn the_spec_of_builds_in_ci_is_true() {
    check(Path::new("spec/ci.md"));
}

#[test]
fn the_spec_of_slug_start_is_true() {
    check(Path::new("spec/start.md"));
}

#[test]
fn the_spec_of_exit_codes_is_true() {
    check(Path::new("spec/exit-codes.md"));
}

#[test]
fn the_spec_of_the_slug_format_is_true() {
    check(Path::new("spec/slug-format.md"));
}

/// Its console block; its toml block is what a build reads; its table names each key and no other.
#[test]
fn the_spec_of_the_formation_is_true() {
    use slug::archive::settings::ProcessSettings;
    check(Path::new("spec/formation.md"));
    let page = include_str!("../../spec/formation.md");
    let block = page.split("```toml\n").nth(1).unwrap();
    let block: toml::Table = toml::from_str(block.split("```").next().unwrap()).unwrap();
    for (_, settings) in block["process"].as_table().unwrap() {
        let _: ProcessSettings = settings.clone().try_into().unwrap();
    }
    let table = page.split("|---|---|---|\n").nth(1).unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let keys: Vec<&str> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
    assert_eq!(keys, ProcessSettings::KEYS);
}

#[test]
fn the_spec_of_the_store_is_true() {
    check(Path::new("spec/store.md"));
}

#[test]
fn the_spec_of_process_managers_is_true() {
    check(Path::new("spec/export.md"));
}

#[test]
fn the_spec_of_listeners_is_true() {
    check(Path::new("spec/listeners.md"));
}

/// Its console blocks; its tables are tests of the room `grammar`.
#[test]
fn the_spec_of_procfiles_is_true() {
    check(Path::new("spec/procfile.md"));
}

#[test]
fn the_spec_of_upgrades_is_true() {
    check(Path::new("spec/upgrade.md"));
}

/// Its console blocks, and the `expect.toml` that it shows.
#[test]
fn the_spec_for_authors_is_true() {
    check(Path::new("spec/authors.md"));
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/authors.md")).unwrap();
    let block = page.split("```toml\n").nth(1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("expect.toml");
    fs::write(&file, block.split("```").next().unwrap()).unwrap();
    let expected = Expectation::read(&file).unwrap().unwrap();
    let Expectation {
        given,
        plan,
        second,
        ..
    } = &expected;
    assert!(given.is_some() && plan.is_some() && second.is_some());
}

/// `spec/buildpack-api.md` shows what a buildpack may write: the platform's own parsers read it so.
#[test]
fn the_spec_of_buildpacks_is_true() {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/buildpack-api.md"))
            .unwrap();
    let blocks: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    let [plan, host_programs] = blocks[..] else {
        panic!(
            "expected a build plan and a part of a descriptor, found {} blocks",
            blocks.len()
        );
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.toml");
    fs::write(&file, plan).unwrap();
    let plan = BuildPlan::read(&file).unwrap();
    let artifacts = plan.choices()[0].requires[0].metadata["artifacts"].clone();
    let artifacts: Vec<Artifact> = artifacts.try_into().unwrap();
    assert_eq!((artifacts.len(), artifacts[0].sources.len()), (1, 2));

    let descriptor =
        format!("api = \"0.10\"\n[buildpack]\nid = \"a/b\"\nversion = \"1.0.0\"\n{host_programs}");
    fs::write(folder.path().join("buildpack.toml"), descriptor).unwrap();
    fs::create_dir(folder.path().join("bin")).unwrap();
    for program in ["bin/detect", "bin/build"] {
        std::os::unix::fs::symlink("/bin/true", folder.path().join(program)).unwrap();
    }
    let descriptor = Descriptor::read(folder.path()).unwrap();
    assert_eq!(descriptor.host_programs, ["python3.*"]);
}

/// Its console blocks, the places that its table names, and the limits that it states.
#[test]
fn the_spec_of_logs_is_true() {
    check(Path::new("spec/logs.md"));
    let page = include_str!("../../spec/logs.md");
    let rows = page.lines().filter_map(|line| {
        let (place, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        let (_, policy) = rest.strip_suffix("` |")?.rsplit_once('`')?;
        Some((place, policy))
    });
    let rows: Vec<(&str, &str)> = rows.collect();
    for form in logs::DESTINATION_FORMS
        .split(';')
        .next()
        .unwrap()
        .split(", ")
    {
        let (place, policy) = rows.iter().find(|(place, _)| *place == form).expect(form);
        let typed = place.replace("HOST:PORT", "logs.example:514");
        let place: logs::Destination = typed.parse().unwrap();
        assert_eq!(
            place.sink("host", "app").policy().name(),
            *policy,
            "{typed}"
        );
    }
    let kib = |bytes: usize| format!("{} KiB", bytes / 1024);
    let mib = |bytes: u64| format!("{} MiB", bytes / 1024 / 1024);
    let limits = [
        kib(logs::LINE_BYTES_MAX),
        kib(logs::QUEUE_BYTES_MAX),
        mib(logs::FILE_BYTES_MAX),
        mib(logs::KEEP_BYTES),
        mib(logs::KEEP_BYTES_MIN),
        format!("for {} seconds", logs::STUCK_AFTER.as_secs()),
        "60,000 bytes".to_owned(),
    ];
    for limit in limits {
        assert!(page.contains(&limit), "{limit}");
    }
    assert_eq!(logs::DATAGRAM_TEXT_BYTES_MAX, 60_000);
}

/// Its console blocks; its table of limits and its table of codes are the code's.
#[test]
fn the_spec_of_the_router_is_true() {
    let page = include_str!("../../spec/router.md");
    for (code, description, status) in slug::router::codes() {
        let row = format!("| {code} | {description} | {status} |\n");
        assert!(page.contains(&row), "{row}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| H")).count();
    assert_eq!(rows, slug::router::codes().len());
    let limits = router_limits();
    for (name, value) in &limits {
        let row = format!("| `{name}` | {value} | ");
        assert!(page.contains(&row), "{row}");
    }
    let is_limit = |line: &&str| line.starts_with("| `") && line.contains("_MAX` | ");
    assert_eq!(page.lines().filter(is_limit).count(), limits.len() - 1); // but `RETRY_AFTER_S`
    check(Path::new("spec/router.md"));
}

fn router_limits() -> Vec<(&'static str, String)> {
    use slug::router;
    let seconds = |limit: std::time::Duration| format!("{} s", limit.as_secs());
    vec![
        ("LINE_BYTES_MAX", router::LINE_BYTES_MAX.to_string()),
        ("HEAD_BYTES_MAX", router::HEAD_BYTES_MAX.to_string()),
        ("HEADERS_MAX", router::HEADERS_MAX.to_string()),
        ("HEAD_MAX", seconds(router::HEAD_MAX)),
        ("CLIENT_STILL_MAX", seconds(router::CLIENT_STILL_MAX)),
        ("EXPECT_MAX", seconds(router::EXPECT_MAX)),
        ("FIRST_BYTE_MAX", seconds(router::FIRST_BYTE_MAX)),
        ("STILL_MAX", seconds(router::STILL_MAX)),
        ("HELD_REQUESTS_MAX", router::HELD_REQUESTS_MAX.to_string()),
        ("HOLD_MAX", seconds(router::HOLD_MAX)),
        ("CLOSE_REPLY_MAX", seconds(router::CLOSE_REPLY_MAX)),
        ("CLOSE_MAX", seconds(router::CLOSE_MAX)),
        ("LINGER_MAX", seconds(router::LINGER_MAX)),
        ("RETRY_AFTER_S", router::RETRY_AFTER_S.to_string()),
    ]
}

/// The table of names of `spec/lifecycle.md`: as a link and as a command, a program is the same.
#[test]
fn a_phase_of_lifecycle_answers_to_each_of_its_names() {
    let page = include_str!("../../spec/lifecycle.md");
    let rows = page.lines().filter_map(|line| {
        let (names, command) = line.strip_prefix("| `")?.split_once(" | `slug cnb ")?;
        Some((names.split('`').next()?, command.strip_suffix("` |")?))
    });
    let rows: Vec<(&str, &str)> = rows.collect();
    assert_eq!(rows.len(), 4, "{rows:?}");
    let world = World::new();
    for (name, command) in rows {
        let link = world.path(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_slug"), &link).unwrap();
        let said = |run: crate::support::run::Run| (run.exit(), run.stdout(), run.stderr());
        let by_name = world.program(link.to_str().unwrap(), &["-help"]);
        let by_name = said(by_name.env("CNB_PLATFORM_API", "0.12").run());
        let by_command = world.invoke(&["cnb", command, "-help"]);
        assert_eq!(
            said(by_command.env("CNB_PLATFORM_API", "0.12").run()),
            by_name
        );
        // A launcher has no flags: `-help` is for the process.
        let expected = if command == "launch" {
            "metadata.toml"
        } else {
            command
        };
        assert!(by_name.1.contains(expected), "{by_name:?}");
    }
}

/// `spec/buildpack-rules.md` has one line for each rule, and each rule a test: `contract_audit.rs`.
#[test]
fn every_page_of_the_spec_has_a_test_here() {
    let tested = include_str!("spec.rs");
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("spec")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            tested.contains(&format!("spec/{name}")),
            "spec/{name} has no test"
        );
    }
}

fn check(page: &Path) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let examples = examples(&text);
    if examples.is_empty() {
        return;
    }
    let world = World::new();
    for app in ["flask", "plain"] {
        apps::copy(app, &world.path("tests/apps").join(app));
    }
    let address = address::free().to_string();
    let script = script(&examples, &address);
    let run = world
        .program("bash", &["-c", &script])
        .without("SLUG_APP")
        .run();
    let said = run.stdout().replace(&address, PUBLIC);
    let outcomes: Vec<&str> = said.split(BEGIN).skip(1).collect();
    assert_eq!(outcomes.len(), examples.len(), "{}", run.story());
    for (example, outcome) in examples.iter().zip(outcomes) {
        let (said, exit) = outcome.rsplit_once(END).unwrap();
        let lines: Vec<&str> = said.trim_end().lines().collect();
        let at = PathBuf::from(page).display().to_string() + ":" + &example.line.to_string();
        let expected = example.expected.join("\n");
        assert!(
            matches(&example.expected, &lines),
            "{at}: `{}`\nsays\n{said}\nnot\n{expected}",
            example.command
        );
        assert_eq!(
            exit.trim(),
            example.exit.to_string(),
            "{at}: `{}`\n{said}",
            example.command
        );
    }
}

const BEGIN: &str = "@@ begin\n";
const END: &str = "@@ end ";
/// The address that `slug up` takes unless it is told another.
const PUBLIC: &str = "127.0.0.1:8080";

/// The commands in one shell, each between two marks.
fn script(examples: &[Example], address: &str) -> String {
    let mut script =
        "exec 2>&1 </dev/null\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n".to_owned();
    for Example { command, .. } in examples {
        let mut command = command.replace(PUBLIC, address);
        if command == "slug up" || command.starts_with("slug up ") {
            let listen = if command.contains("--listen") {
                String::new()
            } else {
                format!(" --listen {address}")
            };
            let wait = format!(
                "until curl -s -o up.answer http://{address}/; do kill -0 $! || break; sleep 0.1; done"
            );
            command = format!("{command}{listen} >up.log 2>&1 &\n{wait}");
        }
        let begin = BEGIN.replace('\n', "\\n");
        writeln!(
            script,
            "printf '{begin}'\n{command}\nprintf '{END}%d\\n' $?"
        )
        .unwrap();
    }
    script
}

fn examples(page: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut inside = false;
    for (number, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            examples.push(Example {
                line: number + 1,
                command: command.to_owned(),
                expected: Vec::new(),
                exit: 0,
            });
        } else if let Some(example) = examples.last_mut().filter(|_| inside) {
            if let Some(more) = line
                .strip_prefix("> ")
                .filter(|_| example.expected.is_empty())
            {
                example.command += "\n";
                example.command += more;
            } else if let Some(exit) = line.strip_prefix("[exit ") {
                example.exit = exit.trim_end_matches(']').parse().unwrap();
            } else {
                example.expected.push(line.to_owned());
            }
        }
    }
    for Example { expected, .. } in &mut examples {
        while expected.last().is_some_and(String::is_empty) {
            expected.pop();
        }
    }
    examples
}

/// Do the lines fit the pattern?
fn matches(pattern: &[String], lines: &[&str]) -> bool {
    match pattern.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..]))
        }
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, lines)| line_matches(first, line) && matches(rest, lines)),
    }
}

fn line_matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split("[..]");
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    for (number, part) in parts.iter().enumerate() {
        if number + 1 == parts.len() {
            return rest.ends_with(part);
        }
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    rest.is_empty()
}

#[test]
fn a_pattern_fits_what_it_says_and_nothing_else() {
    let fits = |pattern: &str, text: &str| {
        let pattern: Vec<String> = pattern.lines().map(str::to_owned).collect();
        matches(&pattern, &text.lines().collect::<Vec<_>>())
    };
    assert!(
        fits("a\n...\nd", "a\nb\nc\nd")
            && fits("...", "")
            && fits("a[..]c", "abc")
            && fits("[..]b[..]", "abc")
    );
    assert!(!fits("a", "a\nb") && !fits("a\nb", "a") && !fits("a[..]c", "abe") && !fits("", "a"));
}
