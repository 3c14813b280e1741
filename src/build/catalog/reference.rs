//! Where a buildpack is, as a user writes it: with `--buildpack`, in an order
//! file, in project.toml. Parsed without a look at the machine.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::ident::{BadName, BuildpackId, Digest};

/// Which buildpack is meant, and where it is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A built-in one, or one that another reference brings.
    Id {
        /// Its id.
        id: BuildpackId,
        /// Its version; any if none.
        version: Option<String>,
    },
    /// A folder, a `.tgz`, a `.cnb` or an OCI layout on this machine; absolute.
    Path(PathBuf),
    /// An archive that is fetched.
    Archive {
        /// Where from; without the fragment.
        url: String,
        /// Of the archive.
        digest: Digest,
    },
    /// A commit of a git repository.
    Git {
        /// What `git fetch` takes; without the fragment.
        url: String,
        /// A branch, a tag or a commit; the remote's `HEAD` if none.
        revision: Option<String>,
    },
}

/// The text is no reference to a buildpack.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadReference {
    /// Nothing is written.
    #[error("a buildpack without a name (expected {EXPECTED})")]
    Empty,
    /// An image of a registry.
    #[error(
        "`{0}` is an image of a registry, and slug does not pull images (write its buildpack to a file, `skopeo copy {0} oci-archive:buildpack.cnb`, and name that file)"
    )]
    Image(String),
    /// An entry of the buildpack registry, which is a list of images.
    #[error(
        "`{0}` is of the buildpack registry, which is a list of images, and slug does not pull images (expected {EXPECTED})"
    )]
    Registry(String),
    /// The whole order of a builder.
    #[error(
        "`{0}` is the order of a builder, and slug is none (leave it out: the built-in buildpacks are tried when none is named; one of them is `from=builder:ID`)"
    )]
    Builder(String),
    /// An id with a version whose id cannot be.
    #[error("{0}; a path that contains `@` begins with `./` or `/`")]
    Id(BadName),
    /// A version is missing after `@`.
    #[error("`{0}` has no version after the `@` (expected `ID@VERSION`, or `ID` for any)")]
    Version(String),
    /// What is fetched by HTTP needs a digest.
    #[error(
        "`{0}` has no digest (expected `{0}#sha256=` and 64 hex digits; `curl -L {0} | sha256sum` prints them, of bytes that you trust)"
    )]
    NoDigest(String),
    /// The fragment is no digest.
    #[error(
        "`{url}` has a digest that cannot be: `{fragment}` (expected `#sha256=` and 64 hex digits)"
    )]
    Digest {
        /// The URL before the fragment, without credentials.
        url: String,
        /// What is after `#`.
        fragment: String,
    },
    /// A revision that git would take for something else.
    #[error(
        "`{url}` has a revision that cannot be: `{revision}` (expected a branch, a tag or a commit after the `#`)"
    )]
    Revision {
        /// The URL before the fragment, without credentials.
        url: String,
        /// What is after `#`.
        revision: String,
    },
    /// `file://host/…`.
    #[error("`{0}` names another host (expected `file:///` and a path)")]
    Host(String),
    /// Another scheme.
    #[error("`{0}` has a scheme that is not known (expected {EXPECTED})")]
    Scheme(String),
}

/// What a user may write.
const EXPECTED: &str = "a built-in id, the path of a folder, `.tgz`, `.cnb` or OCI layout, `https://…#sha256=…`, or `….git#REVISION`";

/// The schemes by which `git` reaches a repository.
const GIT_SCHEMES: [&str; 5] = ["https", "http", "ssh", "git", "file"];

impl Reference {
    /// Parses what was written; a relative path begins at `folder`.
    pub fn parse(
        text: &str,
        folder: &Path,
        is_built_in: &dyn Fn(&str) -> bool,
    ) -> Result<Self, BadReference> {
        if text.is_empty() || text.contains('\0') {
            return Err(BadReference::Empty);
        }
        if let Some(id) = text
            .strip_prefix("urn:cnb:builder:")
            .or_else(|| text.strip_prefix("from=builder:"))
        {
            return with_version(id);
        }
        if text == "from=builder" {
            return Err(BadReference::Builder(text.to_owned()));
        }
        if text.starts_with("urn:cnb:registry:") || text.starts_with("cnb:registry:") {
            return Err(BadReference::Registry(text.to_owned()));
        }
        if let Some(git) = git(text)? {
            return Ok(git);
        }
        match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => fetched(scheme, rest, text),
            _ if text.starts_with("docker:") || text.starts_with("urn:") => {
                Err(BadReference::Scheme(text.to_owned()))
            }
            _ if is_built_in(text) => with_version(text),
            _ if text.contains('@') && !text.starts_with(['.', '/']) => with_version(text),
            _ => Ok(Self::Path(folder.join(text))),
        }
    }
}

/// `ID` or `ID@VERSION`.
fn with_version(text: &str) -> Result<Reference, BadReference> {
    let (id, version) = match text.split_once('@') {
        Some((_, "")) => return Err(BadReference::Version(text.to_owned())),
        Some((id, version)) => (id, Some(version.to_owned())),
        None => (text, None),
    };
    let id = id.parse().map_err(BadReference::Id)?;
    Ok(Reference::Id { id, version })
}

/// `….git`, `….git#REVISION`, by one of git's schemes or as `user@host:path.git`.
fn git(text: &str) -> Result<Option<Reference>, BadReference> {
    let (url, fragment) = text
        .split_once('#')
        .map_or((text, None), |(url, fragment)| (url, Some(fragment)));
    let (url, is_marked) = match url.strip_prefix("git+") {
        Some(url) => (url, true),
        None => (url, false),
    };
    let has_scheme = url
        .split_once("://")
        .is_some_and(|(scheme, _)| GIT_SCHEMES.contains(&scheme));
    let is_git = if has_scheme {
        is_marked || ends_in_git(url)
    } else {
        ends_in_git(url) && is_scp_form(url)
    };
    if !is_git {
        return Ok(None);
    }
    let revision = fragment.map(str::to_owned);
    if let Some(revision) = revision
        .as_deref()
        .filter(|revision| !is_revision(revision))
    {
        return Err(BadReference::Revision {
            url: without_credentials(url),
            revision: revision.escape_default().to_string(),
        });
    }
    Ok(Some(Reference::Git {
        url: url.to_owned(),
        revision,
    }))
}

fn ends_in_git(url: &str) -> bool {
    Path::new(url).extension() == Some(OsStr::new("git"))
}

/// `git@host:path`, git's own short form of ssh. A leading `-` would be an option of `ssh`.
fn is_scp_form(url: &str) -> bool {
    let Some((authority, _)) = url.split_once(':') else {
        return false;
    };
    !authority.contains('/')
        && authority.split_once('@').is_some_and(|(user, host)| {
            !user.is_empty() && !host.is_empty() && !url.starts_with('-')
        })
}

/// The parts of git's rules for names that keep a revision from being an option or a range (git-check-ref-format).
fn is_revision(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && !text.starts_with(['-', '/', '.'])
        && !text.contains("..")
        && !text.contains("@{")
        && !text
            .chars()
            .any(|letter| letter.is_control() || " ~^:?*[\\#".contains(letter))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn fetched(scheme: &str, rest: &str, text: &str) -> Result<Reference, BadReference> {
    match scheme {
        "file" if rest.starts_with('/') => Ok(Reference::Path(PathBuf::from(rest))),
        "file" => Err(BadReference::Host(text.to_owned())),
        "docker" | "oci" => Err(BadReference::Image(format!("docker://{rest}"))),
        "https" | "http" => archive(text),
        _ => Err(BadReference::Scheme(without_credentials(text))),
    }
}

fn archive(text: &str) -> Result<Reference, BadReference> {
    let Some((url, fragment)) = text.split_once('#') else {
        return Err(BadReference::NoDigest(without_credentials(text)));
    };
    let hex = fragment.strip_prefix("sha256=").unwrap_or_default();
    let digest = Digest::from_hex(&hex.to_ascii_lowercase()).map_err(|_| BadReference::Digest {
        url: without_credentials(url),
        fragment: fragment.escape_default().to_string(),
    })?;
    Ok(Reference::Archive {
        url: url.to_owned(),
        digest,
    })
}

/// A URL as it may be printed: its user and password are nobody's business, nor is a token in its query.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.escape_default().to_string();
    };
    let rest = rest.split('?').next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
        .escape_default()
        .to_string()
}

/// As it may be written again; without the credentials of a URL.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id { id, version: None } => id.fmt(f),
            Self::Id {
                id,
                version: Some(version),
            } => write!(f, "{id}@{version}"),
            Self::Path(path) => path.display().fmt(f),
            Self::Archive { url, digest } => {
                write!(f, "{}#sha256={}", without_credentials(url), digest.hex())
            }
            Self::Git { url, revision } => {
                f.write_str(&without_credentials(url))?;
                match revision {
                    Some(revision) => write!(f, "#{revision}"),
                    None => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::{Expect, expect};

    use super::*;

    const HEX: &str = "0f3c5d1a0a5f8f2cbb5a2a7c0d3e9b1c4f6a8e7d9c0b1a2f3e4d5c6b7a891011";

    fn check(texts: &[&str], expected: &Expect) {
        let is_built_in = |id: &str| id == "slug/python";
        let mut said = String::new();
        for text in texts {
            let text = text.replace("HEX", HEX);
            let shown = match Reference::parse(&text, Path::new("/app"), &is_built_in) {
                Ok(Reference::Id { id, version }) => format!("id {id} {version:?}"),
                Ok(Reference::Path(path)) => format!("path {}", path.display()),
                Ok(Reference::Archive { url, .. }) => format!("archive {url}"),
                Ok(Reference::Git { url, revision }) => format!("git {url} {revision:?}"),
                Err(error) => format!("error: {error}"),
            };
            writeln!(said, "{text}\n  {shown}").unwrap();
        }
        expected.assert_eq(&said);
    }

    #[test]
    fn what_is_meant_is_seen_from_the_text_alone() {
        check(
            &[
                "slug/python",
                "slug/python@1.2",
                "acme/tool@v1",
                "acme/tool",
                "./slug/python",
                "/opt/my@folder",
                "./a.tgz",
                "file:///opt/a.cnb",
                "urn:cnb:builder:acme/tool@1",
                "from=builder:acme/tool",
                "https://example.org/a.cnb?x=1#sha256=HEX",
                "https://example.org/a.git",
                "https://example.org/a.git#v1.2",
                "git+https://example.org/a#main",
                "git@example.org:me/a.git#main",
                "file:///srv/a.git#refs/heads/main",
                "a:b",
            ],
            &expect![[r#"
                slug/python
                  id slug/python None
                slug/python@1.2
                  id slug/python Some("1.2")
                acme/tool@v1
                  id acme/tool Some("v1")
                acme/tool
                  path /app/acme/tool
                ./slug/python
                  path /app/./slug/python
                /opt/my@folder
                  path /opt/my@folder
                ./a.tgz
                  path /app/./a.tgz
                file:///opt/a.cnb
                  path /opt/a.cnb
                urn:cnb:builder:acme/tool@1
                  id acme/tool Some("1")
                from=builder:acme/tool
                  id acme/tool None
                https://example.org/a.cnb?x=1#sha256=0f3c5d1a0a5f8f2cbb5a2a7c0d3e9b1c4f6a8e7d9c0b1a2f3e4d5c6b7a891011
                  archive https://example.org/a.cnb?x=1
                https://example.org/a.git
                  git https://example.org/a.git None
                https://example.org/a.git#v1.2
                  git https://example.org/a.git Some("v1.2")
                git+https://example.org/a#main
                  git https://example.org/a Some("main")
                git@example.org:me/a.git#main
                  git git@example.org:me/a.git Some("main")
                file:///srv/a.git#refs/heads/main
                  git file:///srv/a.git Some("refs/heads/main")
                a:b
                  path /app/a:b
            "#]],
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_to_write() {
        check(
            &[
                "",
                "docker://example.org/a:1",
                "docker:example.org/a:1",
                "urn:cnb:registry:acme/tool",
                "from=builder",
                "app@1",
                "slug/python@",
                "https://user:secret@example.org/a.tgz?token=secret",
                "https://example.org/a.tgz#md5=1",
                "https://example.org/a.tgz#sha256=12",
                "https://example.org/a.git#",
                "https://example.org/a.git#--upload-pack=x",
                "https://example.org/a.git#a..b",
                "file://host/a.tgz",
                "s3://bucket/a.tgz",
            ],
            &expect![[r#"

                  error: a buildpack without a name (expected a built-in id, the path of a folder, `.tgz`, `.cnb` or OCI layout, `https://…#sha256=…`, or `….git#REVISION`)
                docker://example.org/a:1
                  error: `docker://example.org/a:1` is an image of a registry, and slug does not pull images (write its buildpack to a file, `skopeo copy docker://example.org/a:1 oci-archive:buildpack.cnb`, and name that file)
                docker:example.org/a:1
                  error: `docker:example.org/a:1` has a scheme that is not known (expected a built-in id, the path of a folder, `.tgz`, `.cnb` or OCI layout, `https://…#sha256=…`, or `….git#REVISION`)
                urn:cnb:registry:acme/tool
                  error: `urn:cnb:registry:acme/tool` is of the buildpack registry, which is a list of images, and slug does not pull images (expected a built-in id, the path of a folder, `.tgz`, `.cnb` or OCI layout, `https://…#sha256=…`, or `….git#REVISION`)
                from=builder
                  error: `from=builder` is the order of a builder, and slug is none (leave it out: the built-in buildpacks are tried when none is named; one of them is `from=builder:ID`)
                app@1
                  error: `app` is not the id of a buildpack (expected letters, digits, `.`, `/`, `-` and `_`, none of app, config, generated, sbom); a path that contains `@` begins with `./` or `/`
                slug/python@
                  error: `slug/python@` has no version after the `@` (expected `ID@VERSION`, or `ID` for any)
                https://user:secret@example.org/a.tgz?token=secret
                  error: `https://example.org/a.tgz` has no digest (expected `https://example.org/a.tgz#sha256=` and 64 hex digits; `curl -L https://example.org/a.tgz | sha256sum` prints them, of bytes that you trust)
                https://example.org/a.tgz#md5=1
                  error: `https://example.org/a.tgz` has a digest that cannot be: `md5=1` (expected `#sha256=` and 64 hex digits)
                https://example.org/a.tgz#sha256=12
                  error: `https://example.org/a.tgz` has a digest that cannot be: `sha256=12` (expected `#sha256=` and 64 hex digits)
                https://example.org/a.git#
                  error: `https://example.org/a.git` has a revision that cannot be: `` (expected a branch, a tag or a commit after the `#`)
                https://example.org/a.git#--upload-pack=x
                  error: `https://example.org/a.git` has a revision that cannot be: `--upload-pack=x` (expected a branch, a tag or a commit after the `#`)
                https://example.org/a.git#a..b
                  error: `https://example.org/a.git` has a revision that cannot be: `a..b` (expected a branch, a tag or a commit after the `#`)
                file://host/a.tgz
                  error: `file://host/a.tgz` names another host (expected `file:///` and a path)
                s3://bucket/a.tgz
                  error: `s3://bucket/a.tgz` has a scheme that is not known (expected a built-in id, the path of a folder, `.tgz`, `.cnb` or OCI layout, `https://…#sha256=…`, or `….git#REVISION`)
            "#]],
        );
    }

    #[test]
    fn what_is_printed_has_no_credentials() {
        let text = format!("https://user:secret@example.org/a.tgz?token=secret#sha256={HEX}");
        let shown = Reference::parse(&text, Path::new("/"), &|_| false)
            .unwrap()
            .to_string();
        assert_eq!(shown, format!("https://example.org/a.tgz#sha256={HEX}"));
    }
}
