//! A unit of systemd: `spec/export.md` says why each line is there, and what is not.

use super::ExportFile;
use super::Service;
use super::User;
use super::joined;
use super::name;
use super::quote::for_systemd;
use super::quote::program_for_systemd;

pub(super) fn files(service: &Service) -> Vec<ExportFile> {
    let Service {
        app,
        command,
        user,
        stop_within,
    } = service;
    let (program, arguments) = command
        .split_first()
        .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let program = program_for_systemd(program);
    let arguments = joined(arguments, for_systemd);
    let user = user
        .as_ref()
        .map_or_else(String::new, |User(user)| format!("User={user}\n"));
    let text = format!(
        "\
# Written by `slug export systemd`.
[Unit]
Description={app}, supervised by slug
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} {arguments}
ExecReload=/bin/kill -USR2 $MAINPID
{user}Restart=always
RestartSec=1s
WatchdogSec=30s
KillMode=mixed
TimeoutStartSec=90s
TimeoutStopSec={stop}s
Delegate=yes
OOMPolicy=continue
LimitNOFILE=524288
LogRateLimitIntervalSec=0
SyslogIdentifier={name}
NoNewPrivileges=yes
LockPersonality=yes
RestrictSUIDSGID=yes

[Install]
WantedBy=multi-user.target
",
        stop = stop_within.as_secs(),
        name = name(service),
    );
    vec![ExportFile {
        path: format!("{}.service", name(service)),
        text,
        is_executable: false,
    }]
}
