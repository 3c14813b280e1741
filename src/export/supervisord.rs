//! A part of supervisord's configuration, for its `[include]`.

use super::BadExport;
use super::ExportFile;
use super::Service;
use super::User;
use super::joined;
use super::name;
use super::quote::for_supervisord;
use crate::ident::shown;

/// A line end would begin another key.
pub(super) fn files(service: &Service) -> Result<Vec<ExportFile>, BadExport> {
    if let Some(bad) = service
        .command
        .iter()
        .find(|word| word.contains(char::is_control))
    {
        return Err(BadExport::Control(shown(bad)));
    }
    let user = service
        .user
        .as_ref()
        .map_or_else(String::new, |User(user)| format!("user={user}\n"));
    let text = format!(
        "\
; Written by `slug export supervisord`.
[program:{name}]
command={command}
{user}autostart=true
autorestart=true
startsecs=1
stopsignal=TERM
stopwaitsecs={stop}
stopasgroup=false
killasgroup=true
redirect_stderr=true
",
        name = name(service),
        command = joined(&service.command, for_supervisord),
        stop = service.stop_within.as_secs(),
    );
    Ok(vec![ExportFile {
        path: format!("{}.conf", name(service)),
        text,
        is_executable: false,
    }])
}
