//! The reader: from text to a checked [`Genesis`].
//!
//! ```text
//! format = 1                      this file's format
//! profile = "devnet"              optional: devnet, production or dev, for what is left out
//! network, address_prefix, symbol, fault_model = text    decimals = integer    dev = boolean
//! time = RFC 3339 text, TOML date-time with offset, or milliseconds since 1970
//! [parameters]   name = integer                           the names of ChainParams
//! [[validators]] key = 0x-hex, power = integer, payout = address
//! [accounts]     address = base units
//! ```
//!
//! An integer may be written as decimal text, and must be above 2^63 - 1, where TOML's integers end.
//! Everything that is not in this list is an error.

use std::collections::BTreeMap;

use toml::de::DeValue;
use vibecoin_primitives::limits::VALIDATORS_MAX;
use vibecoin_primitives::{Address, AddressPrefix, Amount, ChainParams, Power, PublicKey, TimeMs, Validator};

use crate::document::{self, Entry, Section};
use crate::parameters::PARAMETERS;
use crate::write::FAULT_MODELS;
use crate::{
    ACCOUNTS_MAX, FORMAT, GENESIS_BYTES_MAX, Genesis, GenesisError, Position, Problem, Profile, time,
};

const TOP_KEYS: [&str; 12] = [
    "format",
    "profile",
    "network",
    "time",
    "address_prefix",
    "symbol",
    "decimals",
    "fault_model",
    "dev",
    "parameters",
    "validators",
    "accounts",
];

impl Genesis {
    /// Reads a genesis file and checks every rule, so that [`Genesis::build`] accepts the result.
    ///
    /// # Errors
    /// [`GenesisError`] with line, column and key of the first fault: not TOML, a key that is unknown,
    /// missing or repeated, a value of the wrong kind or out of range, a bad address or key, balances that
    /// overflow. Nothing is parsed above [`GENESIS_BYTES_MAX`].
    pub fn parse(text: &str) -> Result<Self, GenesisError> {
        Self::read(text, false)
    }

    /// Reads a file that is being written: the same, but accounts and validators may still be missing.
    ///
    /// # Errors
    /// As [`Genesis::parse`], with [`Genesis::check_draft`] for the rules.
    pub fn parse_draft(text: &str) -> Result<Self, GenesisError> {
        Self::read(text, true)
    }

    fn read(text: &str, is_draft: bool) -> Result<Self, GenesisError> {
        if text.len() > GENESIS_BYTES_MAX {
            let problem = Problem::TooMany {
                what: "bytes",
                found: text.len(),
                most: GENESIS_BYTES_MAX,
            };
            return Err(GenesisError::new("", problem));
        }
        let table = document::parse(text)?;
        let root = Section::root(text, table.get_ref());
        root.only(&TOP_KEYS)?;
        let format = root.required("format", "the version of this file's format, 1")?;
        let found = format.integer()?;
        if found != FORMAT {
            return Err(format.invalid(found, FORMAT.to_string()));
        }
        let params = params(&root)?;
        let prefix = params.prefix().map_err(|error| {
            locate(
                &root,
                GenesisError::value("address_prefix", error.got, error.allowed),
            )
        })?;
        let genesis = Self {
            time: time_of(&root.required("time", "the time of block 0, such as \"2025-01-01T00:00:00Z\"")?)?,
            validators: match root.get("validators") {
                None if is_draft => Vec::new(),
                _ => validators(&root, &prefix)?,
            },
            accounts: match root.get("accounts") {
                None if is_draft => BTreeMap::new(),
                _ => accounts(&root, &prefix)?,
            },
            params,
        };
        let checked = match is_draft {
            true => genesis.check_draft(),
            false => genesis.check().map(|_| ()),
        };
        checked.map_err(|error| locate(&root, error))?;
        Ok(genesis)
    }
}

/// Adds the position in the text to an error of the whole.
fn locate(root: &Section<'_, '_>, error: GenesisError) -> GenesisError {
    GenesisError {
        position: root.find(&error.key),
        ..error
    }
}

/// The profile's parameters, overridden by those of the file; without a profile the file must contain all.
fn params(root: &Section<'_, '_>) -> Result<ChainParams, GenesisError> {
    let profile = root
        .get("profile")
        .map(|entry| entry.word(&Profile::ALL))
        .transpose()?;
    let mut params = profile.unwrap_or(Profile::Devnet).params();
    let names = [
        ("network", &mut params.network),
        ("address_prefix", &mut params.address_prefix),
        ("symbol", &mut params.symbol),
    ];
    for (key, field) in names {
        if let Some(entry) = setting(root, key, profile)? {
            *field = entry.string()?.to_owned();
        }
    }
    if let Some(entry) = setting(root, "decimals", profile)? {
        let found = entry.integer()?;
        params.decimals = u8::try_from(found).map_err(|_| entry.invalid(found, "0 to 18"))?;
    }
    if let Some(entry) = setting(root, "fault_model", profile)? {
        params.fault_model = entry.word(&FAULT_MODELS)?;
    }
    if let Some(entry) = setting(root, "dev", profile)? {
        params.dev = entry.boolean()?;
    }
    let table = root.table_or_empty("parameters")?;
    table.only(
        &PARAMETERS
            .iter()
            .map(|parameter| parameter.name)
            .collect::<Vec<_>>(),
    )?;
    for parameter in PARAMETERS {
        if let Some(entry) = setting(&table, parameter.name, profile)? {
            let found = entry.integer()?;
            (parameter.set)(&mut params, found)
                .map_err(|most| entry.invalid(found, format!("at most {most}")))?;
        }
    }
    Ok(params)
}

/// An entry that only a profile can replace.
fn setting<'a, 'i>(
    section: &Section<'a, 'i>,
    key: &str,
    profile: Option<Profile>,
) -> Result<Option<Entry<'a, 'i>>, GenesisError> {
    match profile {
        Some(_) => Ok(section.get(key)),
        None => section
            .required(
                key,
                "a value, or a profile that has one, such as profile = \"devnet\"",
            )
            .map(Some),
    }
}

fn time_of(entry: &Entry<'_, '_>) -> Result<TimeMs, GenesisError> {
    let (time, found) = match entry.value() {
        DeValue::Integer(_) => return entry.integer().map(TimeMs),
        DeValue::String(text) => (time::from_text(text), format!("{text:?}")),
        DeValue::Datetime(datetime) => (time::from_datetime(datetime), datetime.to_string()),
        _ => return Err(entry.wrong_type("a time, such as \"2025-01-01T00:00:00Z\"")),
    };
    time.ok_or_else(|| {
        entry.invalid(
            found,
            "a time with offset, from 1970 to 9999, in whole milliseconds, such as \"2025-01-01T00:00:00Z\"",
        )
    })
}

fn validators(root: &Section<'_, '_>, prefix: &AddressPrefix) -> Result<Vec<Validator>, GenesisError> {
    let list = root.required("validators", "at least one [[validators]] entry")?;
    let mut first_at: BTreeMap<PublicKey, Position> = BTreeMap::new();
    let mut validators = Vec::new();
    for section in list.tables("validators", VALIDATORS_MAX)? {
        section.only(&["key", "power", "payout"])?;
        let entry = section.required("key", "a public key, 0x and 64 hex digits")?;
        let key = PublicKey::from_hex(entry.string()?).map_err(|error| {
            entry.invalid(
                entry.string().unwrap_or_default(),
                format!("a public key; {error}"),
            )
        })?;
        if let Some(first) = first_at.insert(key, entry.position()) {
            return Err(entry.error(Problem::Duplicate {
                what: "validator",
                first: Some(first),
            }));
        }
        let power = Power(
            section
                .required("power", "the voting power, 1 or more")?
                .integer()?,
        );
        let entry = section.required("payout", "the address that fees are paid to")?;
        let payout = Address::from_text(entry.string()?, prefix)
            .map_err(|error| entry.error(Problem::Address(error)))?;
        validators.push(Validator { key, power, payout });
    }
    Ok(validators)
}

fn accounts(
    root: &Section<'_, '_>,
    prefix: &AddressPrefix,
) -> Result<BTreeMap<Address, Amount>, GenesisError> {
    let list = root.required("accounts", "a table [accounts] of address = balance")?;
    let section = list.table()?;
    if section.len() > ACCOUNTS_MAX {
        return Err(list.error(Problem::TooMany {
            what: "accounts",
            found: section.len(),
            most: ACCOUNTS_MAX,
        }));
    }
    let mut accounts = BTreeMap::new();
    for entry in section.entries() {
        let address = Address::from_text(entry.key, prefix)
            .map_err(|error| entry.key_error(Problem::Address(error)))?;
        // The TOML parser detects a repeated text; this detects the same address in capitals.
        if accounts.insert(address, Amount(entry.integer()?)).is_some() {
            let same = |other: &Entry<'_, '_>| Address::from_text(other.key, prefix) == Ok(address);
            let first = section.entries().find(same).map(|other| other.key_position());
            return Err(entry.key_error(Problem::Duplicate {
                what: "account",
                first,
            }));
        }
    }
    Ok(accounts)
}
