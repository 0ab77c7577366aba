//! The chain's own records: slots of the system account.

use vibecoin_primitives::{
    Address, Amount, Encoded, Hash, Height, OffenceRecord, ProposerSchedule, decode, encode, records,
};

use crate::{ReadError, StateReader};

/// Base units burned since genesis; zero when nothing was burned yet.
///
/// # Errors
/// [`ReadError`] when the store fails or the record is not eight bytes.
pub fn read_burned(reader: &impl StateReader) -> Result<Amount, ReadError> {
    Ok(read_amount(reader, "burned", &records::BURNED)?.unwrap_or_default())
}

/// Base units created by genesis.
///
/// # Errors
/// [`ReadError`] when the store fails, or the record is missing or not eight bytes.
pub fn read_supply(reader: &impl StateReader) -> Result<Amount, ReadError> {
    read_amount(reader, "supply", &records::SUPPLY)?.ok_or_else(|| missing("supply"))
}

/// The proposer order of the next height.
///
/// # Errors
/// [`ReadError`] when the store fails, or the record is missing or malformed.
pub fn read_schedule(reader: &impl StateReader) -> Result<ProposerSchedule, ReadError> {
    let name = ProposerSchedule::NAME;
    let value = reader
        .slot(&Address::system(), &records::SCHEDULE)?
        .ok_or_else(|| missing(name))?;
    decode(&value).map_err(|error| ReadError::new(format!("record {name:?}: {error}")))
}

/// The offences of `height` recorded by blocks; `None` when there are none, or none that still matter.
///
/// # Errors
/// [`ReadError`] when the store fails or the record is malformed.
pub fn read_offences(reader: &impl StateReader, height: Height) -> Result<Option<OffenceRecord>, ReadError> {
    let name = OffenceRecord::NAME;
    let value = reader.slot(&Address::system(), &records::offences(height))?;
    value
        .map(|value| decode(&value).map_err(|error| ReadError::new(format!("record {name:?}: {error}"))))
        .transpose()
}

/// The value of a record that holds an amount.
#[must_use]
pub fn amount_value(amount: Amount) -> Vec<u8> {
    encode(&amount)
}

fn read_amount(reader: &impl StateReader, name: &str, slot: &Hash) -> Result<Option<Amount>, ReadError> {
    let Some(value) = reader.slot(&Address::system(), slot)? else {
        return Ok(None);
    };
    let bytes = <[u8; 8]>::try_from(value.as_slice())
        .map_err(|_| ReadError::new(format!("record {name:?} has {} bytes, expected 8", value.len())))?;
    Ok(Some(Amount(u64::from_le_bytes(bytes))))
}

fn missing(name: &str) -> ReadError {
    ReadError::new(format!("record {name:?} is missing"))
}
