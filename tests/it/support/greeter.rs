//! An app without dependencies: built in a moment, started in a tenth of a second.

use std::path::PathBuf;

use crate::support::world::World;

/// The web process, for the interpreter that every Debian has.
const SERVE: &str = include_str!("greeter.py");

impl World {
    /// Builds an app whose `web` answers `GREETING NAME vN`: the text, the config var `NAME`, the release. Gives the digest.
    #[track_caller]
    pub(crate) fn greeter(&self, greeting: &str) -> String {
        self.greeter_with(greeting, &[])
    }

    /// As `greeter`, with files more or others.
    #[track_caller]
    pub(crate) fn greeter_with(&self, greeting: &str, files: &[(&str, &str)]) -> String {
        let app = self.greeter_source(greeting, files);
        self.slug(&["build", app.to_str().unwrap()]).ok()
    }

    /// The source of such an app.
    pub(crate) fn greeter_source(&self, greeting: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = format!("greeter-{greeting}");
        let own = [
            ("Procfile", "web: /usr/bin/python3 serve\n"),
            ("serve", SERVE),
            ("greeting", greeting),
        ];
        self.app(&folder, &own);
        self.app(&folder, files)
    }
}
