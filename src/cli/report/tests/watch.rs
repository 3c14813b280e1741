//! What `slug up DIR --watch` cannot watch.

use expect_test::{Expect, expect};
use slug::sys::watch::WatchError;

use super::*;

#[test]
fn of_folders_that_cannot_be_watched() {
    check!(
        [
            WatchError::Instances,
            WatchError::Folders {
                path: "/srv/shop/node_modules/a".into(),
                watched: 8192,
            },
            WatchError::Io {
                path: "/srv/shop".into(),
                source: refused(),
            },
        ],
        expect![[r#"
            error: no more inotify instances can be had
            unchanged: nothing more is built
            hint: as root: `sysctl fs.inotify.max_user_instances=1024`, or end a program that watches files
            [exit 1]

            error: `/srv/shop/node_modules/a` cannot be watched: 8192 folders are, and the system allows no more
            unchanged: nothing more is built
            hint: as root: `sysctl fs.inotify.max_user_watches=524288`
            hint: or leave folders that are no source out, in .gitignore or .slugignore
            [exit 1]

            error: could not watch `/srv/shop`: permission denied
            unchanged: nothing more is built
            [exit 1]

        "#]],
        [
            WatchError::Instances,
            WatchError::Folders { .. },
            WatchError::Io { .. },
        ]
    );
}
