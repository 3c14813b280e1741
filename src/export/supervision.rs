//! Service directories of the daemontools family: runit and s6.

use super::ExportFile;
use super::Service;
use super::User;
use super::joined;
use super::name;
use super::quote::for_sh;

/// `run`, and `log/run` with svlogd.
pub(super) fn runit(service: &Service) -> Vec<ExportFile> {
    let log = "#!/bin/sh\nmkdir -p ./main\nexec svlogd -tt ./main\n";
    vec![
        program(service, "run", &run(service, "chpst -u")),
        program(service, "log/run", log),
    ]
}

/// The same with s6-log, and how long a stop may take before SIGKILL.
pub(super) fn s6(service: &Service) -> Vec<ExportFile> {
    let log = "#!/bin/sh\nmkdir -p ./main\nexec s6-log -b n20 s1000000 T ./main\n";
    let timeout = ExportFile {
        path: format!("{}/timeout-kill", name(service)),
        text: format!("{}\n", service.stop_within.as_millis()),
        is_executable: false,
    };
    vec![
        program(service, "run", &run(service, "s6-setuidgid")),
        timeout,
        program(service, "log/run", log),
    ]
}

fn program(service: &Service, file: &str, text: &str) -> ExportFile {
    ExportFile {
        path: format!("{}/{file}", name(service)),
        text: text.to_owned(),
        is_executable: true,
    }
}

/// Both outputs go to the logger; `exec` leaves one process, which is slug.
fn run(service: &Service, as_user: &str) -> String {
    let user = service
        .user
        .as_ref()
        .map_or_else(String::new, |User(user)| format!("{as_user} {user} "));
    let command = joined(&service.command, for_sh);
    format!("#!/bin/sh\nexec 2>&1\nexec {user}{command}\n")
}
