//! The reactor: does what the supervisor decides.

use std::sync::Arc;

use thiserror::Error;

use super::Front;
use crate::ident::AppName;
use crate::logs::Pump;
use crate::store::Store;

/// What `up` is given.
pub struct UpOptions {
    /// Where releases and slugs are.
    pub store: Store,
    /// Which app is supervised.
    pub app: AppName,
    /// This host's name, as rejections write it.
    pub host: String,
    /// The public side.
    pub front: Arc<dyn Front>,
    /// Who reads every process's output.
    pub pump: Pump,
}

/// Why supervising ended otherwise than by being told to.
#[derive(Debug, Error)]
pub enum UpError {
    /// Another `slug up` supervises this app.
    #[error("the app `{0}` is supervised already on this host")]
    Running(AppName),
}

/// Supervises the app until SIGINT, SIGTERM or `slug stop`; returns when every process is gone.
pub fn up(options: UpOptions) -> Result<(), UpError> {
    let _ = options;
    todo!()
}
