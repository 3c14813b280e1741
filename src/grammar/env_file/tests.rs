//! What an env file says, and what it is refused for.

use super::*;

/// The values, or each problem with its line and what is shown of it.
fn check(text: &str, expect: Result<&[(&str, &str)], &[&str]>) {
    let parsed = parse(text.as_bytes());
    let shown = parsed.map(|file| {
        file.vars
            .iter()
            .map(|var| {
                let value = String::from_utf8_lossy(&var.value).into_owned();
                (var.name.clone(), value)
            })
            .collect()
    });
    let shown = shown.map_err(|problems| {
        let said = problems.iter().map(|problem| problem.of_file(".env"));
        said.collect::<Vec<_>>()
    });
    let expect = expect.map(|vars| {
        vars.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<Vec<_>>()
    });
    let expect = expect.map_err(|said| said.iter().map(|one| (*one).to_owned()).collect());
    assert_eq!(shown, expect, "{text:?}");
}

/// Each row of the table in `spec/procfile.md` that is read.
#[test]
fn values_mean_what_they_say() {
    check("", Ok(&[]));
    check("A=", Ok(&[("A", "")]));
    check("\u{feff}A=1\r\nB=2\r\n", Ok(&[("A", "1"), ("B", "2")]));
    check("# c\n\n  export\tA=b c  # tail\n", Ok(&[("A", "b c")]));
    check("export=1\nA= b", Ok(&[("export", "1"), ("A", "b")]));
    check("A=b  \t\nB=b\u{b}", Ok(&[("A", "b"), ("B", "b\u{b}")]));
    check("A=b c d", Ok(&[("A", "b c d")]));
    check("A=\"b\" # c\nB=b # c", Ok(&[("A", "b"), ("B", "b")]));
    check(
        "A=b#c\nB=http://h/#x\nC=b=c==\nD=#fff\nE= # c",
        Ok(&[
            ("A", "b#c"),
            ("B", "http://h/#x"),
            ("C", "b=c=="),
            ("D", "#fff"),
            ("E", ""),
        ]),
    );
    check(
        "A=$B ${C} `d` $(e) it's",
        Ok(&[("A", "$B ${C} `d` $(e) it's")]),
    );
    check(
        "A='x\\n # y'\nB=\"x\\n\\$y\\\\\\t\\r\\\"\" # c",
        Ok(&[("A", "x\\n # y"), ("B", "x\n$y\\\t\r\"")]),
    );
    check("A=x\\ny\nB=b\\", Ok(&[("A", "x\\ny"), ("B", "b\\")]));
    check("A=\"x\ny\"\nB=1", Ok(&[("A", "x\ny"), ("B", "1")]));
    check("A=\"x\r\ny\"\r\nB=1", Ok(&[("A", "x\ny"), ("B", "1")]));
    check("A=1\nA=2", Ok(&[("A", "2")]));
    check("A=\u{2028}b", Ok(&[("A", "\u{2028}b")]));
    check("PORT=1\nHOME=x", Ok(&[("PORT", "1"), ("HOME", "x")]));
}

/// No message holds more of a line than the name before its `=`.
#[test]
fn a_line_that_is_not_understood_is_a_problem_with_its_place_and_no_value() {
    check(
        "A=1\n<<<<<<< HEAD\n=======\n",
        Err(&[
            ".env:2:1: `<<<<<<<` is left over from a merge: settle it\n  | …\n  | ^",
            ".env:3:1: `=======` is left over from a merge: settle it\n  | …\n  | ^",
        ]),
    );
    check(
        "  SECRET\nexport SECRET",
        Err(&[
            ".env:1:3: no `=` (expected `NAME=value`)\n  | **…\n  |   ^",
            ".env:2:8: no `=` (expected `NAME=value`)\n  | *******…\n  |        ^",
        ]),
    );
    check(
        "A = b\n1A=b\nA-B=b\nA.B=b\nÉ=b\n=b",
        Err(&[
            ".env:1:2: no blank may stand before `=`, or in a name\n  | *…\n  |  ^",
            ".env:2:1: a name begins with a letter or `_`\n  | …\n  | ^",
            ".env:3:2: a name has letters, digits and `_` alone\n  | *…\n  |  ^",
            ".env:4:2: a name has letters, digits and `_` alone\n  | *…\n  |  ^",
            ".env:5:1: a name has letters, digits and `_` alone\n  | …\n  | ^",
            ".env:6:1: no name before `=`\n  | …\n  | ^",
        ]),
    );
    check(
        "OK=1\nA=\"x\nB=1",
        Err(&[".env:2:3: the quote that opens here is never closed\n  | A=…\n  |   ^"]),
    );
    check(
        "A=\"\\qé\\z\"\nB='b'c",
        Err(&[
            ".env:1:4: unknown escape (known in double quotes: \\n \\t \\r \\\\ \\\" \\$)\n  | A=*…\n  |    ^",
            ".env:1:7: unknown escape (known in double quotes: \\n \\t \\r \\\\ \\\" \\$)\n  | A=****…\n  |       ^",
            ".env:2:6: expected the end of the line, or ` #` and a comment, after the closing quote\n  | B=***…\n  |      ^",
        ]),
    );
    check(
        "A=a\0b\nB=a\rC=b\nD=\"x\n\0\"\n\u{c}E=1",
        Err(&[
            ".env:1:4: a value cannot hold a NUL byte\n  | A=*…\n  |    ^",
            ".env:2:4: a carriage return that ends no line: quote the value\n  | B=*…\n  |    ^",
            ".env:4:1: a value cannot hold a NUL byte\n  | …\n  | ^",
            ".env:5:1: a name has letters, digits and `_` alone\n  | …\n  | ^",
        ]),
    );
    check(
        "{\"a\": \"b=c\"}",
        Err(&[".env:1:1: a name has letters, digits and `_` alone\n  | …\n  | ^"]),
    );
}

#[test]
fn a_name_that_is_there_twice_is_told() {
    let file = parse(b"A=1\nB=2\n A=3").unwrap();
    let said: Vec<String> = file
        .duplicates
        .iter()
        .map(|one| one.of_file(".env"))
        .collect();
    assert_eq!(
        said,
        [".env:1:1: `A` is set again on line 3, and that one counts"]
    );
    assert_eq!(format!("{:?}", file.vars), "[2:1 B=…, 3:2 A=…]");
}

#[test]
fn a_name_is_as_long_as_that_of_a_config_var() {
    let fits = format!("{}=1", "A".repeat(NAME_BYTES_MAX));
    assert!(parse(fits.as_bytes()).is_ok());
    assert!(parse(format!("A{fits}").as_bytes()).is_err());
}

#[test]
fn the_problems_of_a_file_that_is_none_are_bounded() {
    let problems = parse(&b"x\n".repeat(PROBLEMS_MAX + 1)).unwrap_err();
    assert_eq!(problems.len(), PROBLEMS_MAX);
}
