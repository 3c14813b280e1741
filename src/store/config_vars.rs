//! Config vars, sealed: what lies on the disk is an age file (X25519) for
//! every recipient in `<root>/recipients/`, this host among them.
//!
//! A sealed object is named by the digest of its ciphertext. The digest of the
//! plain text would let anyone who reads the ledger try guesses.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use age::secrecy::ExposeSecret as _;
use age::x25519::{Identity, Recipient};
use thiserror::Error;

use super::{PRIVATE_DIR, PRIVATE_FILE, PUBLIC_DIR, PUBLIC_FILE, Store, StoreError, names_in};
use crate::ident::{AppName, BadEnvKey, Digest, EnvKey};
use crate::sys::fs::{create_dir_durable, put_if_absent, read_if_present};

/// The longest config var, in bytes: `KEY=value` and its NUL. Linux passes no longer string to a
/// program (`MAX_ARG_STRLEN`, 32 pages).
pub const CONFIG_VAR_BYTES_MAX: usize = 128 * 1024;
/// All config vars of a release together, in bytes: with a stack of 8 MiB Linux gives arguments and
/// environment 2 MiB, of which this leaves half to the platform and the buildpacks.
pub const CONFIG_BYTES_MAX: usize = 1024 * 1024;
/// Room for the recipients' stanzas around the plain text: some 100 bytes each.
const SEALED_BYTES_MAX: u64 = CONFIG_BYTES_MAX as u64 * 2;
/// The first line of the plain text.
const HEADER: &[u8] = b"slug config vars 1\0";
/// A recipients file, in bytes.
const RECIPIENTS_BYTES_MAX: u64 = 64 * 1024;

/// The value of a config var: any bytes but NUL. It has no `Display` and no `Serialize`, and its
/// `Debug` shows nothing: a value leaves through `expose` alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// From what was typed, or read from a file or from stdin.
    pub fn new(value: Vec<u8>) -> Self {
        Self(value)
    }

    /// The value: for a process's environment, and for `slug config get`.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The config vars of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigVars(BTreeMap<EnvKey, Secret>);

/// A config var that no process could be given. Never tells the value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadConfigVar {
    /// Environments end at a NUL.
    #[error("the value of {key} has a NUL byte, which no environment can hold")]
    Nul {
        /// Whose value.
        key: EnvKey,
    },
    /// Longer than Linux passes on.
    #[error(
        "{key} is {bytes} bytes with its name, more than the {CONFIG_VAR_BYTES_MAX} that Linux gives a process"
    )]
    TooLong {
        /// Whose value.
        key: EnvKey,
        /// `KEY=value` and its NUL.
        bytes: usize,
    },
    /// Too much together.
    #[error(
        "the config vars are {bytes} bytes together, more than the {CONFIG_BYTES_MAX} that a release may have"
    )]
    TooMany {
        /// All of them.
        bytes: usize,
    },
}

impl ConfigVars {
    /// None at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a var.
    pub fn get(&self, key: &EnvKey) -> Option<&Secret> {
        self.0.get(key)
    }

    /// Sets a var, if it fits.
    pub fn set(&mut self, key: EnvKey, value: Secret) -> Result<(), BadConfigVar> {
        let bytes = entry_bytes(&key, &value);
        if value.0.contains(&0) {
            return Err(BadConfigVar::Nul { key });
        }
        if bytes > CONFIG_VAR_BYTES_MAX {
            return Err(BadConfigVar::TooLong { key, bytes });
        }
        let others: usize = self
            .iter()
            .filter(|(other, _)| **other != key)
            .map(|(key, value)| entry_bytes(key, value))
            .sum();
        if others + bytes > CONFIG_BYTES_MAX {
            return Err(BadConfigVar::TooMany {
                bytes: others + bytes,
            });
        }
        self.0.insert(key, value);
        Ok(())
    }

    /// Takes a var away; says whether it was there.
    pub fn unset(&mut self, key: &EnvKey) -> bool {
        self.0.remove(key).is_some()
    }

    /// All vars, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&EnvKey, &Secret)> {
        self.0.iter()
    }

    /// The names, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &EnvKey> {
        self.0.keys()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn to_plain(&self) -> Vec<u8> {
        let mut plain = HEADER.to_vec();
        for (key, value) in &self.0 {
            plain.extend_from_slice(key.as_str().as_bytes());
            plain.push(b'=');
            plain.extend_from_slice(&value.0);
            plain.push(0);
        }
        plain
    }

    /// Whoever can write a recipient's file can seal: so this too is parsed as anybody's.
    fn from_plain(plain: &[u8]) -> Result<Self, BadPlain> {
        let mut rest = plain.strip_prefix(HEADER).ok_or(BadPlain::Header)?;
        let mut vars = Self::new();
        while !rest.is_empty() {
            let end = rest
                .iter()
                .position(|byte| *byte == 0)
                .ok_or(BadPlain::Cut)?;
            let equals = rest[..end]
                .iter()
                .position(|byte| *byte == b'=')
                .ok_or(BadPlain::Cut)?;
            let key = std::str::from_utf8(&rest[..equals])
                .map_err(|_| BadPlain::Cut)?
                .parse()?;
            if vars.get(&key).is_some() {
                return Err(BadPlain::Twice(key));
            }
            vars.set(key, Secret(rest[equals + 1..end].to_vec()))?;
            rest = &rest[end + 1..];
        }
        Ok(vars)
    }
}

fn entry_bytes(key: &EnvKey, value: &Secret) -> usize {
    key.as_str().len() + value.0.len() + 2
}

#[derive(Debug, Error)]
enum BadPlain {
    #[error("it is not config vars that this slug can read")]
    Header,
    #[error("it is not a list of config vars")]
    Cut,
    #[error("{0} stands twice")]
    Twice(EnvKey),
    #[error(transparent)]
    Key(#[from] BadEnvKey),
    #[error(transparent)]
    Var(#[from] BadConfigVar),
}

impl Store {
    /// Seals config vars to all recipients, durably; the name of the sealed object. The same vars
    /// sealed twice are two objects: compare vars, not names.
    pub fn seal(&self, app: &AppName, vars: &ConfigVars) -> Result<Digest, StoreError> {
        let identity = self.identity()?;
        let sealed = seal(&vars.to_plain(), &self.recipients(&identity)?)?;
        let name = Digest::of(&sealed);
        let folder = self.config_folder(app);
        create_dir_durable(&self.app_folder(app), PUBLIC_DIR)?;
        create_dir_durable(&folder, PRIVATE_DIR)?;
        put_if_absent(&folder.join(name.hex()), &sealed, PRIVATE_FILE)?;
        Ok(name)
    }

    /// Opens sealed config vars with this host's key.
    pub fn unseal(&self, app: &AppName, config: &Digest) -> Result<ConfigVars, StoreError> {
        let sealed = self.read_sealed(app, config)?;
        let identity = self.identity()?;
        let changed = |why: String| StoreError::ConfigChanged {
            app: app.clone(),
            config: *config,
            why,
        };
        let opened = age::Decryptor::new_buffered(&sealed[..]).and_then(|decryptor| {
            decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity))
        });
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(age::DecryptError::NoMatchingKeys) => {
                let recipient = identity.to_public().to_string();
                return Err(StoreError::ConfigNotForThisHost {
                    app: app.clone(),
                    config: *config,
                    recipient,
                });
            }
            Err(error) => return Err(changed(error.to_string())),
        };
        let mut plain = Vec::new();
        stream
            .read_to_end(&mut plain)
            .map_err(|error| changed(error.to_string()))?;
        ConfigVars::from_plain(&plain).map_err(|error| changed(error.to_string()))
    }

    /// This host's public key: what an operator puts into another store's recipients.
    pub fn host_recipient(&self) -> Result<String, StoreError> {
        Ok(self.identity()?.to_public().to_string())
    }

    /// The ciphertext, checked against its name.
    fn read_sealed(&self, app: &AppName, config: &Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.config_folder(app).join(config.hex());
        let Some(sealed) = read_if_present(&path, SEALED_BYTES_MAX)? else {
            return Err(StoreError::ConfigMissing {
                app: app.clone(),
                config: *config,
            });
        };
        let found = Digest::of(&sealed);
        if found != *config {
            let why = format!("its bytes have the digest {}", found.short());
            return Err(StoreError::ConfigChanged {
                app: app.clone(),
                config: *config,
                why,
            });
        }
        Ok(sealed)
    }

    pub(super) fn config_folder(&self, app: &AppName) -> PathBuf {
        self.app_folder(app).join("config")
    }

    /// This host's key, made on first use: of several first users one wins, and the others read its key.
    fn identity(&self) -> Result<Identity, StoreError> {
        let path = self.host().join("identity");
        if let Some(identity) = read_identity(&path)? {
            return Ok(identity);
        }
        let text = Identity::generate().to_string();
        put_if_absent(
            &path,
            format!("{}\n", text.expose_secret()).as_bytes(),
            PRIVATE_FILE,
        )?;
        let made = read_identity(&path)?;
        made.ok_or_else(|| StoreError::BadIdentity {
            path,
            why: "it was removed while it was made".to_owned(),
        })
    }

    /// Everyone in `<root>/recipients/`; this host's own line is added if it is missing.
    fn recipients(&self, identity: &Identity) -> Result<Vec<Recipient>, StoreError> {
        let folder = self.root().join("recipients");
        let own = identity.to_public();
        let mut all = BTreeMap::from([(own.to_string(), own.clone())]);
        let mut is_listed = false;
        for name in names_in(&folder)?
            .iter()
            .filter(|name| !name.starts_with('.'))
        {
            for recipient in read_recipients(&folder.join(name))? {
                is_listed |= recipient.to_string() == own.to_string();
                all.insert(recipient.to_string(), recipient);
            }
        }
        if !is_listed {
            create_dir_durable(&folder, PUBLIC_DIR)?;
            put_if_absent(
                &folder.join(own.to_string()),
                format!("{own}\n").as_bytes(),
                PUBLIC_FILE,
            )?;
        }
        Ok(all.into_values().collect())
    }
}

fn read_identity(path: &Path) -> Result<Option<Identity>, StoreError> {
    const IDENTITY_BYTES_MAX: u64 = 4096;
    let Some(bytes) = read_if_present(path, IDENTITY_BYTES_MAX)? else {
        return Ok(None);
    };
    let bad = |why: &str| StoreError::BadIdentity {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| bad("not text"))?;
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (lines.next(), lines.next()) {
        (Some(line), None) => Identity::from_str(line).map(Some).map_err(bad),
        _ => Err(bad("expected one line `AGE-SECRET-KEY-1…`")),
    }
}

fn read_recipients(path: &Path) -> Result<Vec<Recipient>, StoreError> {
    let bytes = read_if_present(path, RECIPIENTS_BYTES_MAX)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut recipients = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            let bad = |_| StoreError::BadRecipient {
                path: path.to_owned(),
                line: number + 1,
            };
            recipients.push(Recipient::from_str(line).map_err(bad)?);
        }
    }
    Ok(recipients)
}

fn seal(plain: &[u8], recipients: &[Recipient]) -> Result<Vec<u8>, StoreError> {
    let failed = |why: String| StoreError::Seal { why };
    let recipients = recipients
        .iter()
        .map(|recipient| recipient as &dyn age::Recipient);
    let encryptor =
        age::Encryptor::with_recipients(recipients).map_err(|error| failed(error.to_string()))?;
    let mut sealed = Vec::new();
    let written = encryptor.wrap_output(&mut sealed).and_then(|mut stream| {
        stream.write_all(plain)?;
        stream.finish()
    });
    written.map_err(|error| failed(error.to_string()))?;
    Ok(sealed)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::store::tests::{app, store};
    use crate::sys::fs::write_atomic;

    fn vars(pairs: &[(&str, &[u8])]) -> ConfigVars {
        let mut vars = ConfigVars::new();
        for (key, value) in pairs {
            vars.set(key.parse().unwrap(), Secret::new(value.to_vec()))
                .unwrap();
        }
        vars
    }

    #[test]
    fn any_bytes_but_nul_come_back_and_none_lie_on_the_disk() {
        let (folder, store) = store();
        let canary = b"canary-=\n\xff\xfe 'quoted'";
        let sealed = vars(&[("A", b""), ("URL", canary), ("_9", &[1; 1000])]);
        let name = store.seal(&app(), &sealed).unwrap();
        assert_eq!(store.unseal(&app(), &name).unwrap(), sealed);
        let mut pending = vec![folder.path().to_owned()];
        while let Some(path) = pending.pop() {
            if path.is_dir() {
                pending.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            } else {
                let bytes = fs::read(&path).unwrap();
                assert!(
                    !bytes.windows(7).any(|window| window == b"canary-"),
                    "{}",
                    path.display()
                );
            }
        }
        assert!(!format!("{sealed:?}").contains("canary"));
    }

    #[test]
    fn what_holds_secrets_is_the_owners_alone() {
        let (_folder, store) = store();
        let name = store.seal(&app(), &ConfigVars::new()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store.host().join("identity")), 0o600);
        assert_eq!(mode(&store.config_folder(&app())), 0o700);
        assert_eq!(mode(&store.config_folder(&app()).join(name.hex())), 0o600);
        assert_eq!((mode(store.root()), mode(store.host())), (0o700, 0o700));
    }

    #[test]
    fn sealed_config_opens_for_its_recipients_alone() {
        let (_folder, store) = store();
        let (_other_folder, other) = crate::store::tests::store();
        let root = store.root().to_owned();
        let guest = Store::open(&root, other.host()).unwrap();
        let before = store.seal(&app(), &vars(&[("A", b"1")])).unwrap();
        let refused = guest.unseal(&app(), &before).unwrap_err();
        assert!(
            matches!(refused, StoreError::ConfigNotForThisHost { .. }),
            "{refused}"
        );
        let line = format!("# the other host\n\n{}\n", guest.host_recipient().unwrap());
        write_atomic(&root.join("recipients/other"), line.as_bytes(), 0o644).unwrap();
        let after = store.seal(&app(), &vars(&[("A", b"1")])).unwrap();
        assert_eq!(
            guest.unseal(&app(), &after).unwrap(),
            store.unseal(&app(), &after).unwrap()
        );
        write_atomic(
            &root.join("recipients/wrong"),
            b"# x\nssh-ed25519 AAAA\n",
            0o644,
        )
        .unwrap();
        let refused = store.seal(&app(), &ConfigVars::new()).unwrap_err();
        assert!(
            matches!(refused, StoreError::BadRecipient { line: 2, .. }),
            "{refused}"
        );
    }

    #[test]
    fn a_flipped_bit_in_sealed_config_is_found() {
        let (_folder, store) = store();
        let name = store.seal(&app(), &vars(&[("A", b"1")])).unwrap();
        let path = store.config_folder(&app()).join(name.hex());
        let mut sealed = fs::read(&path).unwrap();
        *sealed.last_mut().unwrap() ^= 1;
        write_atomic(&path, &sealed, 0o600).unwrap();
        assert!(matches!(
            store.unseal(&app(), &name),
            Err(StoreError::ConfigChanged { .. })
        ));
        let forged = Digest::of(&sealed);
        write_atomic(
            &store.config_folder(&app()).join(forged.hex()),
            &sealed,
            0o600,
        )
        .unwrap();
        assert!(matches!(
            store.unseal(&app(), &forged),
            Err(StoreError::ConfigChanged { .. })
        ));
        fs::remove_file(&path).unwrap();
        assert!(matches!(
            store.unseal(&app(), &name),
            Err(StoreError::ConfigMissing { .. })
        ));
    }

    #[test]
    fn config_vars_have_limits() {
        let mut vars = ConfigVars::new();
        let key = |name: &str| name.parse::<EnvKey>().unwrap();
        let longest = CONFIG_VAR_BYTES_MAX - "A=\0".len();
        vars.set(key("A"), Secret::new(vec![1; longest])).unwrap();
        let refused = vars
            .set(key("A"), Secret::new(vec![1; longest + 1]))
            .unwrap_err();
        assert_eq!(
            refused,
            BadConfigVar::TooLong {
                key: key("A"),
                bytes: CONFIG_VAR_BYTES_MAX + 1
            }
        );
        assert!(matches!(
            vars.set(key("A"), Secret::new(b"a\0b".to_vec())),
            Err(BadConfigVar::Nul { .. })
        ));
        for name in ["B", "C", "D", "E", "F", "G", "H"] {
            vars.set(key(name), Secret::new(vec![1; longest])).unwrap();
        }
        let refused = vars.set(key("I"), Secret::new(Vec::new())).unwrap_err();
        assert_eq!(
            refused,
            BadConfigVar::TooMany {
                bytes: CONFIG_BYTES_MAX + 3
            }
        );
    }

    #[test]
    fn a_host_key_made_by_many_at_once_is_one_key() {
        let (_folder, store) = store();
        let keys: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| store.host_recipient().unwrap()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }
}
