//! `web=2`, as it is typed.

use slug::ident::ProcessType;

/// How many processes of a type there are to be.
#[derive(Clone, Debug)]
pub(crate) struct ScaleChange {
    pub(crate) process_type: ProcessType,
    pub(crate) instances: u32,
}

impl std::str::FromStr for ScaleChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (process_type, instances) = text
            .split_once('=')
            .ok_or_else(|| "expected TYPE=N, such as web=2".to_owned())?;
        Ok(Self {
            process_type: process_type
                .parse()
                .map_err(|error: slug::ident::BadName| error.to_string())?,
            instances: instances
                .parse()
                .map_err(|_| format!("`{instances}` is not a number of processes"))?,
        })
    }
}
