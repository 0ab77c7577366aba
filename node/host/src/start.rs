//! The state from which a replica starts: block 0, and the head of an opened store.

use vibecoin_execution::read_schedule;
use vibecoin_genesis::BuiltGenesis;
use vibecoin_replica::{Head, Parent};
use vibecoin_storage::{GenesisState, StateView, Store};

use crate::files::during;
use crate::recover::RecoverError;

/// Remedy for a database that opens and whose head cannot be used.
const CHECK: &str = "run `vibecoin db check`";

/// Block 0 and the state after it, as the store takes them.
#[must_use]
pub fn genesis_state(genesis: &BuiltGenesis) -> GenesisState {
    GenesisState {
        header: genesis.header.clone(),
        body: genesis.body.clone(),
        params: genesis.params.clone(),
        validators: genesis.validators.clone(),
        accounts: genesis.accounts.clone(),
        slots: genesis.slots.clone(),
    }
}

/// The newest block of a store, as the replica continues from it.
///
/// # Errors
/// [`RecoverError`] when it cannot be read.
pub fn head_of(store: &Store) -> Result<Head<StateView>, RecoverError> {
    let newest = store.head();
    let blocks = store.reader();
    let header = blocks
        .header(newest.height)
        .map_err(during("read the head"))?
        .ok_or_else(|| RecoverError::Damaged {
            detail: format!("the head block {} is missing", newest.height),
            remedy: CHECK.to_owned(),
        })?;
    let certificate = blocks
        .certificate(newest.height)
        .map_err(during("read the head"))?;
    let state = store.view();
    let schedule = read_schedule(&state).map_err(|error| RecoverError::Damaged {
        detail: error.to_string(),
        remedy: CHECK.to_owned(),
    })?;
    let parent = Parent {
        header,
        hash: newest.hash,
        state,
        schedule,
    };
    Ok(Head { parent, certificate })
}
