//! What was typed. Built with no look at the machine, so `--help` never fails.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use slug::buildpack::ExecEnv;
use slug::ident::{AppName, EnvKey, Instance, ProcessType, ReleaseVersion};
use slug::router::{Listen, TrustedProxy};

use super::log_options::{KeepOptions, LogOptions};
use super::logs::Logs;
use super::scale_change::ScaleChange;
use super::size::Size;
use super::time_limit::TimeLimit;

/// Build, release and run twelve-factor apps on your own Linux hosts.
#[derive(Debug, Parser)]
#[command(
    name = "slug",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(crate) struct Typed {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The app [default: `app` in ./slug.toml, the folder's name, or the only app in the store]
    #[arg(
        long,
        short,
        env = "SLUG_APP",
        global = true,
        value_name = "NAME",
        hide_env = true
    )]
    pub(crate) app: Option<AppName>,
    /// The store [default: /var/lib/slug for root, else `$XDG_DATA_HOME/slug`]
    #[arg(
        long,
        env = "SLUG_STORE",
        global = true,
        value_name = "DIR",
        hide_env = true
    )]
    pub(crate) store: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say less: errors and results only
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a slug from source; print its digest
    Build(Build),
    /// Say what a build would do, and why
    Plan(Plan),
    /// Check Procfile, .env, slug.toml and project.toml, and say how other tools read them
    Check(Check),
    /// Combine a slug with config into a release; print its version
    Release(Release),
    /// Make a new release with an earlier release's slug and config
    Rollback(Rollback),
    /// Show the ledger
    Releases(Releases),
    /// Say what differs between two releases: files, process types, config keys, base
    Diff(Diff),
    /// List, read and change config vars; each change is a release
    Config(Config),
    /// Run one process of the current release: a one-off, `run.N`
    Run(Run),
    /// Supervise the app's processes and follow its ledger
    Up(Up),
    /// Run the processes of a Procfile where they lie: no build, no release, for who writes the app
    Start(super::start::args::Start),
    /// List the running processes
    Ps,
    /// Show the output of processes
    Logs(Logs),
    /// Show or change how many processes of a type run
    Scale(Scale),
    /// Restart processes
    Restart(Restart),
    /// Run a command inside a running process
    Exec(Exec),
    /// End the supervisor and its processes, or a one-off
    Stop(Stop),
    /// Make the running supervisor this version of slug; nothing is interrupted
    Upgrade,
    /// Answer every request with a page while you work on the app
    Maintenance(super::maintenance::Maintenance),
    /// Show what is in a slug
    Inspect(Inspect),
    /// Check slugs and ledgers against their digests
    Verify(Verify),
    /// Delete what no release needs
    Gc(Gc),
    /// Check this machine for what slug needs
    Doctor,
    /// List the built-in buildpacks
    Buildpacks,
    /// For those who write buildpacks: begin, check, test and export one
    Buildpack(super::buildpack::args::Buildpack),
    /// Write `slug up` as a service of the operating system's process manager
    Export(Export),
    /// Print a completion script
    Completions(Completions),
}

#[derive(Debug, Default, Args)]
pub(crate) struct BuildOptions {
    #[command(flatten)]
    pub(crate) buildpacks: BuildpackOptions,
    #[command(flatten)]
    pub(crate) variables: VariableOptions,
    /// Where artifacts are looked for first
    #[arg(long, value_name = "URL|DIR", env = "SLUG_MIRROR", hide_env = true)]
    pub(crate) mirror: Option<String>,
    /// Build without network
    #[arg(long)]
    pub(crate) offline: bool,
    /// Say also why: what each group of buildpacks said, and where environment, processes and layers came from
    #[arg(long)]
    pub(crate) explain: bool,
    /// `none` builds at the real paths of a machine that is thrown away afterwards
    #[arg(long, value_name = "HOW", default_value = "namespaces")]
    pub(crate) isolation: Isolation,
    /// How layers are compressed; the slug's digest does not depend on it
    #[arg(long, value_name = "HOW", default_value = "zstd")]
    pub(crate) compression: Compression,
    /// Forget what earlier builds of the app cached
    #[arg(long)]
    pub(crate) clear_cache: bool,
    /// A folder that carries the app's cache from machine to machine: read before the build, written after it
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) limits: LimitOptions,
    /// What buildpacks read at /platform/secrets/NAME and no slug holds: the value of your shell's variable NAME,
    /// of a file, or of standard input (repeatable)
    #[arg(long, value_name = "NAME|NAME=@FILE|NAME=-")]
    pub(crate) secret: Vec<String>,
}

/// How long the programs of a buildpack may run.
#[derive(Debug, Default, Args)]
pub(crate) struct LimitOptions {
    /// How long a buildpack's detect may take, such as 90s or 1h30m [default: 1m]
    #[arg(long, value_name = "DURATION")]
    pub(crate) detect_timeout: Option<TimeLimit>,
    /// How long a buildpack's build may take [default: 1h]
    #[arg(long, value_name = "DURATION")]
    pub(crate) build_timeout: Option<TimeLimit>,
}

/// Which buildpacks are tried.
#[derive(Debug, Default, Args)]
pub(crate) struct BuildpackOptions {
    /// A buildpack: a built-in id, a folder, .tgz, .cnb, OCI layout, `https://…#sha256=…` or `….git#REVISION`
    /// (repeatable: they make one group, in this order)
    #[arg(long, value_name = "REF", conflicts_with = "order")]
    pub(crate) buildpack: Vec<OsString>,
    /// A file with `[[order]]` tables: the groups that are tried
    #[arg(long, value_name = "FILE")]
    pub(crate) order: Option<PathBuf>,
    /// A buildpack before those of whichever group is tried (repeatable)
    #[arg(long, value_name = "REF")]
    pub(crate) pre: Vec<OsString>,
    /// A buildpack after them (repeatable)
    #[arg(long, value_name = "REF")]
    pub(crate) post: Vec<OsString>,
}

/// What buildpacks are told.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct VariableOptions {
    /// A variable for buildpacks; without a value: that of your shell (repeatable)
    #[arg(long, value_name = "KEY=VALUE|KEY")]
    pub(crate) env: Vec<OsString>,
    /// A folder with a file for each variable for buildpacks; --env wins
    #[arg(long, value_name = "DIR")]
    pub(crate) platform_env: Option<PathBuf>,
    /// A folder with `env/KEY[.SUFFIX]` files: variables that a buildpack cannot refuse
    #[arg(long, value_name = "DIR")]
    pub(crate) build_config: Option<PathBuf>,
    /// What is built for: production, test, …
    #[arg(long, value_name = "NAME", default_value_t)]
    pub(crate) exec_env: ExecEnv,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Isolation {
    #[default]
    Namespaces,
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    #[default]
    Zstd,
    Gzip,
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The app's source
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Also write the slug as one file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: BuildOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The app's source
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) options: BuildOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The app's source
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

/// Options of the commands that make a release.
#[derive(Debug, Args)]
pub(crate) struct ReleaseOptions {
    /// Say what would happen, and do nothing
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Why this release is made; kept in the ledger
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Do not wait until a supervisor that is up has switched
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Release {
    /// `sha256:…`, a unique prefix of 8 digits or more, or a file `app.slug`
    #[arg(value_name = "SLUG")]
    pub(crate) slug: String,
    #[command(flatten)]
    pub(crate) options: ReleaseOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The release to go back to [default: the last eligible one]
    #[arg(value_name = "vN")]
    pub(crate) to: Option<ReleaseVersion>,
    #[command(flatten)]
    pub(crate) options: ReleaseOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Releases {
    #[command(subcommand)]
    pub(crate) command: Option<ReleasesCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReleasesCommand {
    /// Show one release and what happened to it
    Show {
        #[arg(value_name = "vN")]
        version: ReleaseVersion,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    #[arg(value_name = "vA")]
    pub(crate) from: ReleaseVersion,
    #[arg(value_name = "vB")]
    pub(crate) to: ReleaseVersion,
}

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) command: Option<ConfigCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Set config vars
    Set {
        /// KEY=VALUE, KEY=@FILE, or KEY=- for standard input (keeps the value out of argv)
        #[arg(required = true, value_name = "KEY=VALUE|KEY=@FILE|KEY=-")]
        assignments: Vec<String>,
        #[command(flatten)]
        options: ReleaseOptions,
    },
    /// Remove config vars
    Unset {
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<EnvKey>,
        #[command(flatten)]
        options: ReleaseOptions,
    },
    /// Print one value, exactly
    Get {
        #[arg(value_name = "KEY")]
        key: EnvKey,
    },
    /// Set all that an env file holds
    Import {
        /// `-` for standard input
        #[arg(default_value = ".env", value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        options: ReleaseOptions,
    },
    /// Say which keys differ between two releases
    Diff {
        #[arg(value_name = "vA")]
        from: ReleaseVersion,
        #[arg(value_name = "vB")]
        to: ReleaseVersion,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// A process type, with arguments; or `--` and a command
    #[arg(value_name = "TYPE")]
    pub(crate) process: Option<String>,
    /// Arguments of the type, or the command
    #[arg(last = true, allow_hyphen_values = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
    /// Return once it runs, and print its name; its output goes into the app's history
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// How long it may take, such as 90s or 1h30m: then it is asked to end, and killed after its grace
    #[arg(long, value_name = "DURATION")]
    pub(crate) time_limit: Option<TimeLimit>,
}

#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// An instance; or a process type, if one of it runs
    #[arg(value_name = "TYPE.N")]
    pub(crate) which: Which,
    /// The command
    #[arg(
        last = true,
        required = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// A one-off [default: the supervisor and its processes; one-offs go on]
    #[arg(value_name = "run.N")]
    pub(crate) which: Option<Instance>,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Build and release this source first
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Build and release DIR again whenever its source changes
    #[arg(long, requires = "dir")]
    pub(crate) watch: bool,
    /// The public side: host:port, or the path of a unix socket (repeatable), besides the sockets of `LISTEN_FDS` [default: 127.0.0.1:8080, if there are none]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<Listen>,
    /// A peer whose X-Forwarded-* headers are kept (repeatable; loopback and unix sockets always are)
    #[arg(long, value_name = "IP|NETWORK")]
    pub(crate) trusted_proxy: Vec<TrustedProxy>,
    /// Stop everything when a process of this type ends, and exit with its code
    #[arg(long, value_name = "TYPE")]
    pub(crate) exit_on: Option<ProcessType>,
    #[command(flatten)]
    pub(crate) logs: LogOptions,
    #[command(flatten)]
    pub(crate) keep: KeepOptions,
    #[command(flatten)]
    pub(crate) options: BuildOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// TYPE=N; nothing shows the formation
    #[arg(value_name = "TYPE=N")]
    pub(crate) changes: Vec<ScaleChange>,
    /// Say what would happen, and do nothing
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Restart {
    /// Which [default: all, the new ones started beside the old]
    #[arg(value_name = "TYPE|TYPE.N")]
    pub(crate) which: Option<Which>,
}

/// A process type, or one instance of it.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    Type(ProcessType),
    Instance(Instance),
}

impl std::str::FromStr for Which {
    type Err = slug::ident::BadName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .map(Self::Instance)
            .or_else(|_| text.parse().map(Self::Type))
    }
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Type(process_type) => process_type.fmt(f),
            Self::Instance(instance) => instance.fmt(f),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// `sha256:…`, a unique prefix, or a file `app.slug` [default: the current release's]
    #[arg(value_name = "SLUG")]
    pub(crate) slug: Option<String>,
    /// Write the SBOMs of the slug into a new folder, as `<buildpack>[/<layer>]/sbom.<format>.json`
    #[arg(long, value_name = "DIR")]
    pub(crate) sbom: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// One slug: its digest, a unique prefix, or a file `app.slug` [default: every ledger and blob in the store]
    #[arg(value_name = "SLUG")]
    pub(crate) slug: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// How many earlier releases of each app stay ready for a rollback
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) keep: usize,
    /// Keep also what was current in the last N days
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) days: u32,
    /// How much this host's caches may hold: layers of builds, runtimes, buildpacks; what was used the longest ago goes first
    #[arg(long, value_name = "SIZE", default_value = "20GB")]
    pub(crate) cache_max: Size,
    /// Say what would be deleted, and do nothing
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// For whom
    #[arg(value_name = "MANAGER")]
    pub(crate) manager: ExportFor,
    /// Where the files are written
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The public side: host:port, or the path of a unix socket (repeatable)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: Vec<Listen>,
    /// The user that runs it [default: the manager's own]
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<slug::export::User>,
    /// Write over files that are there
    #[arg(long)]
    pub(crate) force: bool,
    /// Print the files, and write none
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFor {
    Systemd,
    Runit,
    S6,
    Supervisord,
    Compose,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_of_the_command_line_is_sound() {
        <Typed as clap::CommandFactory>::command().debug_assert();
    }
}
