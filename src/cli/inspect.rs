//! `slug inspect`: what is in a slug.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use slug::archive::{self, LayerKind, Slug, SlugProcess};
use slug::ident::Digest;
use slug::store::{Ledger, Store};
use slug::sys::{At as _, PathError};

use super::args::Inspect;
use super::report::Failure;
use super::sboms;
use super::settings::Settings;
use super::slug_name;
use super::ui::{Text, human_bytes};

/// What the labels begin with by which buildpacks say which runtimes are in the slug, and where they came from.
const RUNTIME: &str = "slug.runtime.";
/// How many of the largest paths are told.
const LARGEST_PATHS: usize = 10;

pub(crate) fn run(settings: &Settings, typed: &Inspect) -> Result<u8, Failure> {
    let store = settings.open_store()?;
    let sboms = typed
        .sbom
        .as_deref()
        .map(|folder| settings.absolute(folder));
    let sboms = sboms.as_deref();
    let (digest, slug, contents) = match &typed.slug {
        Some(file) if slug_name::is_file(settings, file) => {
            // Into a store of its own, which is dropped: looking changes nothing.
            let (_folder, scratch) = slug_name::scratch(&store)?;
            let digest = slug_name::resolve(settings, &scratch, file)?;
            read(&scratch, digest, sboms)?
        }
        Some(named) => read(&store, slug_name::in_store(&store, named)?, sboms)?,
        None => read(&store, current(settings, &store)?, sboms)?,
    };
    let object = json!({
        "schema": 1,
        "slug": digest,
        "target": slug.target,
        "processes": slug.processes,
        "buildpacks": slug.buildpacks,
        "runtimes": runtimes(&slug).collect::<BTreeMap<_, _>>(),
        "layers": slug.layers.iter().map(|(kind, layer)| json!({ "holds": kind, "layer": layer })).collect::<Vec<_>>(),
        "largest": contents.iter().map(|(path, bytes)| json!({ "path": path, "bytes": bytes })).collect::<Vec<_>>(),
        "base": slug.base,
        "labels": slug.labels,
    });
    settings
        .ui
        .answer(&object, |_| text(&digest, &slug, &contents))?;
    Ok(0)
}

/// A slug, its name, and its largest files with their sizes in bytes.
type Contents = (Digest, Slug, Vec<(String, u64)>);

fn read(store: &Store, digest: Digest, sboms: Option<&Path>) -> Result<Contents, Failure> {
    let slug = archive::read_image(store, &digest)?;
    if let Some(folder) = sboms {
        if !slug.layers.iter().any(|(kind, _)| *kind == LayerKind::Sbom) {
            return Err(Failure::failed(format!("{digest} has no SBOMs"))
                .hint("buildpacks write them: those that made this slug did not"));
        }
        sboms::make_folder(folder)?;
    }
    let mut files = Vec::new();
    for (kind, layer) in &slug.layers {
        let tree = archive::unpack(store, layer, &mut |_| ())?;
        if let (LayerKind::Sbom, Some(folder)) = (kind, sboms) {
            sboms::copy(&tree, folder)?;
        }
        walk(&tree, &tree, &mut files)?;
    }
    files.sort_by(|(a_path, a), (b_path, b)| b.cmp(a).then_with(|| a_path.cmp(b_path)));
    files.truncate(LARGEST_PATHS);
    Ok((digest, slug, files))
}

/// Each file below `folder`, by its path in the slug, with its size in bytes.
fn walk(root: &Path, folder: &Path, files: &mut Vec<(String, u64)>) -> Result<(), PathError> {
    for entry in std::fs::read_dir(folder).at("read the folder", folder)? {
        let path = entry.at("read the folder", folder)?.path();
        let metadata = path.symlink_metadata().at("look at", &path)?;
        if metadata.is_dir() {
            walk(root, &path, files)?;
        } else if metadata.is_file() {
            let inside = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
            files.push((format!("/{}", inside.escape_debug()), metadata.len()));
        }
    }
    Ok(())
}

fn holds(kind: &LayerKind) -> String {
    match kind {
        LayerKind::Buildpack { buildpack, layer } => format!("{buildpack}: {layer}"),
        LayerKind::Sbom => "sbom".to_owned(),
        LayerKind::App => "app".to_owned(),
    }
}

fn current(settings: &Settings, store: &Store) -> Result<Digest, Failure> {
    let app = settings.app(store)?;
    let release = Ledger::open(store, &app).current(&settings.host)?;
    release
        .and_then(|release| release.record.slug)
        .ok_or_else(|| {
            Failure::failed(format!("{app} has no current release with a slug"))
                .hint("name a slug: `slug inspect sha256:…`")
        })
}

fn text(digest: &Digest, slug: &Slug, largest: &[(String, u64)]) -> String {
    let target = &slug.target;
    let buildpacks: Vec<String> = slug
        .buildpacks
        .iter()
        .map(|buildpack| format!("{} {}", buildpack.id, buildpack.version))
        .collect();
    let mut text = Text::default();
    text.line(format!("slug      {digest}"));
    text.line(format!(
        "target    {}/{}, built on {} {}",
        target.os.escape_debug(),
        target.arch.escape_debug(),
        target.distro_name.escape_debug(),
        target.distro_version.escape_debug()
    ));
    text.line(format!("built by  {}", buildpacks.join(", ")));
    text.line("\nruntimes");
    text.table(runtimes(slug).map(|(name, value)| {
        vec![
            format!("  {}", name.escape_debug()),
            value.escape_debug().to_string(),
        ]
    }));
    text.line("\nprocesses");
    text.table(slug.processes.iter().map(process_row));
    text.line("\nlayers");
    text.table(slug.layers.iter().map(|(kind, layer)| {
        let sizes = format!(
            "{} ({} unpacked)",
            human_bytes(layer.size_bytes),
            human_bytes(layer.tar_bytes)
        );
        vec![format!("  {}", holds(kind)), layer.diff_id.short(), sizes]
    }));
    text.line("\nlargest files");
    text.table(
        largest
            .iter()
            .map(|(path, bytes)| vec![format!("  {path}"), human_bytes(*bytes)]),
    );
    text.line("\nneeds from the host");
    text.lines(
        slug.base
            .glibc
            .iter()
            .map(|glibc| format!("  glibc {} or later", glibc.escape_debug())),
    );
    text.table(slug.base.sonames.iter().map(|(soname, by)| {
        vec![
            format!("  {}", soname.escape_debug()),
            format!("for {}", by.escape_debug()),
        ]
    }));
    text.line("\nlabels");
    let labels = slug
        .labels
        .iter()
        .filter(|(key, _)| !key.starts_with(RUNTIME));
    text.table(labels.map(|(key, value)| {
        vec![
            format!("  {}", key.escape_debug()),
            value.escape_debug().to_string(),
        ]
    }));
    text.into_string()
}

/// `python`, `3.12.1 (host copy, sha256:…; asked for by .python-version:1)`.
fn runtimes(slug: &Slug) -> impl Iterator<Item = (&str, &str)> {
    let labels = slug.labels.iter();
    labels.filter_map(|(key, value)| Some((key.strip_prefix(RUNTIME)?, value.as_str())))
}

fn process_row(process: &SlugProcess) -> Vec<String> {
    let command: Vec<&str> = process
        .command
        .iter()
        .chain(&process.args)
        .map(String::as_str)
        .collect();
    let default = if process.default { "(default)" } else { "" };
    vec![
        format!("  {}", process.process_type),
        command.join(" ").escape_debug().to_string(),
        default.to_owned(),
    ]
}
