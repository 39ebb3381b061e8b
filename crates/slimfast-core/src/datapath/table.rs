//! One map whose entries only the core writes, and what a former agent has left in it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libbpf_rs::{ErrorKind, MapCore, MapFlags, MapHandle};

use super::bpf_error;
use super::loader::Loaded;
use crate::error::Result;

pub(super) struct Table {
    map: MapHandle,
    /// Keys that were there at first and were neither written nor removed since.
    inherited: Mutex<HashSet<Vec<u8>>>,
}

impl Table {
    pub fn open(loaded: &Loaded, name: &str) -> Result<Self> {
        let map = loaded.map(name)?;
        let inherited = Mutex::new(map.keys().collect());
        Ok(Self { map, inherited })
    }

    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        put_bytes(&self.map, key, value)?;
        self.inherited().remove(key);
        Ok(())
    }

    /// Idempotent.
    pub fn remove(&self, key: &[u8]) -> Result<()> {
        remove(&self.map, key)?;
        self.inherited().remove(key);
        Ok(())
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.map
            .lookup(key, MapFlags::ANY)
            .map_err(|error| bpf_error(format!("read BPF map {}", self.map.name().to_string_lossy()), &error))
    }

    pub fn is_inherited(&self, key: &[u8]) -> bool {
        self.inherited().contains(key)
    }

    /// Removes what is inherited still, and says what that was.
    pub fn drop_inherited(&self) -> Result<Vec<Vec<u8>>> {
        let keys: Vec<Vec<u8>> = self.inherited().iter().cloned().collect();
        for key in &keys {
            self.remove(key)?;
        }
        Ok(keys)
    }

    fn inherited(&self) -> MutexGuard<'_, HashSet<Vec<u8>>> {
        self.inherited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn put_bytes(map: &MapHandle, key: &[u8], value: &[u8]) -> Result<()> {
    map.update(key, value, MapFlags::ANY)
        .map_err(|error| bpf_error(format!("write to BPF map {}", map.name().to_string_lossy()), &error))
}

/// Idempotent.
pub(super) fn remove(map: &MapHandle, key: &[u8]) -> Result<()> {
    match map.delete(key) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(bpf_error(format!("delete from BPF map {}", map.name().to_string_lossy()), &error))
        }
        _ => Ok(()),
    }
}
