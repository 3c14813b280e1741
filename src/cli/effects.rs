//! Every effect of a release plan, for people: what `--dry-run` prints.

use slug::release::ReleasePlan;

use super::ui::{Text, human_bytes};

pub(crate) fn describe(plan: &ReleasePlan) -> String {
    let mut text = Text::default();
    let rows = identity(plan)
        .into_iter()
        .chain(changes(plan))
        .chain(machine(plan));
    text.table(rows.map(|(key, value)| vec![key.to_owned(), value]));
    text.into_string()
}

type Row = (&'static str, String);

/// What it is.
fn identity(plan: &ReleasePlan) -> Vec<Row> {
    let mut rows = vec![
        ("release", format!("{} of {}", plan.version, plan.app)),
        ("reason", super::releases::reason(&plan.reason)),
    ];
    rows.extend(
        plan.replaces
            .iter()
            .map(|replaced| ("replaces", replaced.to_string())),
    );
    let changed = if plan.slug_changed {
        ""
    } else {
        " (unchanged)"
    };
    rows.extend(
        plan.slug
            .iter()
            .map(|slug| ("slug", format!("{slug}{changed}"))),
    );
    rows
}

/// What differs from the current release, and what is run.
fn changes(plan: &ReleasePlan) -> Vec<Row> {
    let config = &plan.config;
    let mut rows = Vec::new();
    rows.extend(config.added.iter().map(|key| ("config", format!("+{key}"))));
    rows.extend(
        config
            .changed
            .iter()
            .map(|key| ("config", format!("~{key}"))),
    );
    rows.extend(
        config
            .removed
            .iter()
            .map(|key| ("config", format!("-{key}"))),
    );
    rows.extend(
        plan.processes_added
            .iter()
            .map(|added| ("process", format!("+{added}"))),
    );
    rows.extend(
        plan.processes_removed
            .iter()
            .map(|removed| ("process", format!("-{removed}"))),
    );
    let command = plan.release_command.iter();
    rows.extend(command.map(|command| ("runs", command.join(" ").escape_debug().to_string())));
    rows
}

/// What it does to this host and to the ledger.
fn machine(plan: &ReleasePlan) -> Vec<Row> {
    let layers = &plan.layers;
    let unpacked = human_bytes(layers.unpacked_bytes);
    let free = human_bytes(layers.disk_free_bytes.saturating_sub(layers.unpacked_bytes));
    let targets: Vec<String> = plan
        .rollback_targets
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut rows = vec![
        (
            "layers",
            format!(
                "{} on this host, {} to unpack ({unpacked})",
                layers.reused, layers.unpacked
            ),
        ),
        ("disk", format!("{free} free afterwards")),
        (
            "rollback",
            if targets.is_empty() {
                "no target".to_owned()
            } else {
                targets.join(", ")
            },
        ),
    ];
    let interrupted = plan.interrupted.iter();
    rows.extend(interrupted.map(|version| {
        (
            "interrupted",
            format!("{version} will be recorded as failed"),
        )
    }));
    rows
}
