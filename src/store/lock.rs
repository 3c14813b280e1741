//! Who may change what at the same time. All of them die with their holder.

use super::{PUBLIC_DIR, Store, StoreError};
use crate::ident::AppName;
use crate::sys::fs::create_dir_durable;
use crate::sys::lock::Lock;

/// One release of an app at a time. Whoever has it knows that a pending release has lost its maker.
#[derive(Debug)]
pub struct AppLock {
    _lock: Lock,
    app: AppName,
}

impl AppLock {
    /// Which app.
    pub fn app(&self) -> &AppName {
        &self.app
    }
}

/// While anybody has one, nothing is collected: held from the first look at whether a blob is there
/// until the slug or release that needs it is written down.
#[derive(Debug)]
pub struct HoldLock(#[expect(dead_code, reason = "held, never looked at")] Lock);

/// While one has it, nobody makes slugs or releases: `GcPlan::apply` asks for it.
#[derive(Debug)]
pub struct CollectLock(#[expect(dead_code, reason = "held, never looked at")] Lock);

impl Store {
    /// Takes the lock of an app, waiting as long as it takes; `waiting` is told once who has it.
    /// `holder` is what others will be told of us: who, and which command.
    pub fn lock_app(
        &self,
        app: &AppName,
        holder: &str,
        waiting: &mut dyn FnMut(&str),
    ) -> Result<AppLock, StoreError> {
        match self.try_lock_app(app, holder) {
            Err(StoreError::LockHeld { holder: other, .. }) => {
                waiting(&other);
                let path = self.app_folder(app).join("lock");
                let lock = Lock::take(&path)?;
                lock.say_who(&whom(holder), &path)?;
                Ok(AppLock {
                    _lock: lock,
                    app: app.clone(),
                })
            }
            taken => taken,
        }
    }

    /// Takes the lock of an app, or says who has it.
    pub fn try_lock_app(&self, app: &AppName, holder: &str) -> Result<AppLock, StoreError> {
        let folder = self.app_folder(app);
        create_dir_durable(&folder, PUBLIC_DIR)?;
        let path = folder.join("lock");
        let Some(lock) = Lock::try_take(&path)? else {
            let said = Lock::who(&path)?;
            let holder = if said.is_empty() {
                "another slug".to_owned()
            } else {
                said
            };
            return Err(StoreError::LockHeld {
                app: app.clone(),
                holder,
            });
        };
        lock.say_who(&whom(holder), &path)?;
        Ok(AppLock {
            _lock: lock,
            app: app.clone(),
        })
    }

    /// Keeps `gc` away while a slug is made, imported, unpacked or released. Many may hold at once.
    pub fn hold(&self) -> Result<HoldLock, StoreError> {
        Ok(HoldLock(Lock::take_shared(&self.root().join("gc.lock"))?))
    }

    /// Waits until nobody holds, and keeps everybody from it; `waiting` is told once if somebody does.
    pub fn lock_for_gc(&self, waiting: &mut dyn FnMut()) -> Result<CollectLock, StoreError> {
        let path = self.root().join("gc.lock");
        if let Some(lock) = Lock::try_take(&path)? {
            return Ok(CollectLock(lock));
        }
        waiting();
        Ok(CollectLock(Lock::take(&path)?))
    }
}

fn whom(holder: &str) -> String {
    format!("{holder} (process {})", std::process::id())
}

#[cfg(test)]
mod tests {
    use crate::store::StoreError;
    use crate::store::tests::{app, store};

    #[test]
    fn a_lock_says_who_has_it_and_is_free_when_dropped() {
        let (_folder, store) = store();
        let lock = store
            .lock_app(&app(), "alice: slug release", &mut |_| panic!("free"))
            .unwrap();
        let Err(StoreError::LockHeld { holder, .. }) = store.try_lock_app(&app(), "bob") else {
            panic!("taken twice")
        };
        assert_eq!(
            holder,
            format!("alice: slug release (process {})", std::process::id())
        );
        drop(lock);
        store.try_lock_app(&app(), "bob").unwrap();
    }

    #[test]
    fn the_next_in_line_is_told_who_has_the_lock_and_gets_it() {
        let (_folder, store) = store();
        let lock = store.lock_app(&app(), "alice", &mut |_| {}).unwrap();
        let (told, who) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let next = scope.spawn(|| {
                store.lock_app(&app(), "bob", &mut |holder| {
                    told.send(holder.to_owned()).unwrap();
                })
            });
            assert!(who.recv().unwrap().starts_with("alice (process "));
            drop(lock);
            assert_eq!(next.join().unwrap().unwrap().app(), &app());
        });
    }

    #[test]
    fn nothing_is_collected_while_somebody_holds() {
        let (_folder, store) = store();
        let (one, two) = (store.hold().unwrap(), store.hold().unwrap());
        let path = store.root().join("gc.lock");
        assert!(crate::sys::lock::Lock::try_take(&path).unwrap().is_none());
        drop((one, two));
        store.lock_for_gc(&mut || {}).unwrap();
    }
}
