//! What a layer does to which variable, and which file or folder says so: for
//! people who ask where a value came from.

use std::ffi::OsString;

use serde::Serialize;

use super::{Action, BUILD_PATHS, Delta, LAUNCH_PATHS, LayerEnv};

/// One thing that a layer does to one variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The variable.
    pub variable: OsString,
    /// What is done with it.
    pub action: Action,
    /// Where the layer says so: `bin`, `env.launch/web/PORT`.
    pub place: String,
}

impl Serialize for Action {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Override => "override",
            Self::Default => "default",
            Self::Append => "append",
            Self::Prepend => "prepend",
        })
    }
}

impl Delta {
    /// What it does, in order; `folder` is where it was read.
    pub fn effects(&self, folder: &str) -> Vec<Effect> {
        let effects = self.0.iter().map(|change| Effect {
            variable: change.name.clone(),
            action: change.action,
            place: format!("{folder}/{}", change.name.to_string_lossy()),
        });
        effects.collect()
    }
}

impl LayerEnv {
    /// What it does to later buildpacks, in order.
    pub fn effects_at_build(&self) -> Vec<Effect> {
        let mut effects = self.path_effects(BUILD_PATHS);
        effects.extend(self.all.effects("env"));
        effects.extend(self.build.effects("env.build"));
        effects
    }

    /// What it does to processes, in order; to those of one type last.
    pub fn effects_at_launch(&self) -> Vec<Effect> {
        let mut effects = self.path_effects(LAUNCH_PATHS);
        effects.extend(self.all.effects("env"));
        effects.extend(self.launch.effects("env.launch"));
        for (process, delta) in &self.process {
            let folder = format!("env.launch/{}", process.to_string_lossy());
            effects.extend(delta.effects(&folder));
        }
        effects
    }

    fn path_effects(&self, paths: &[(&str, &[&str])]) -> Vec<Effect> {
        let there = paths
            .iter()
            .filter(|(folder, _)| self.folders.contains(folder));
        let effects = there.flat_map(|(folder, variables)| {
            variables.iter().map(|variable| Effect {
                variable: (*variable).into(),
                action: Action::Prepend,
                place: (*folder).to_owned(),
            })
        });
        effects.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sys::fs::write_unsynced;

    #[test]
    fn an_effect_names_the_file_or_folder_that_has_it() {
        let layer = tempfile::tempdir().unwrap();
        for file in [
            "bin/tool",
            "env/A.append",
            "env.build/B",
            "env.launch/C.default",
            "env.launch/web/D.prepend",
        ] {
            let path = layer.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            write_unsynced(&path, b"x", 0o644).unwrap();
        }
        let env = LayerEnv::read(layer.path(), Path::new("/layers/a/b")).unwrap();
        let shown = |effects: Vec<Effect>| -> Vec<String> {
            let line = |effect: &Effect| {
                format!("{:?} {:?} {}", effect.variable, effect.action, effect.place)
            };
            effects.iter().map(line).collect()
        };
        assert_eq!(
            shown(env.effects_at_build()),
            [
                "\"PATH\" Prepend bin",
                "\"A\" Append env/A",
                "\"B\" Override env.build/B"
            ]
        );
        assert_eq!(
            shown(env.effects_at_launch()),
            [
                "\"PATH\" Prepend bin",
                "\"A\" Append env/A",
                "\"C\" Default env.launch/C",
                "\"D\" Prepend env.launch/web/D"
            ]
        );
    }
}
