//! The writer: one text per genesis.

use std::fmt::{self, Write as _};

use vibecoin_primitives::{AddressPrefix, FaultModel};

use crate::parameters::PARAMETERS;
use crate::{FORMAT, Genesis, time};

/// The words of `fault_model`.
pub(crate) const FAULT_MODELS: [(&str, FaultModel); 2] =
    [("byzantine", FaultModel::Byzantine), ("crash", FaultModel::Crash)];

impl Genesis {
    /// Returns the genesis file of this value: complete, commented, and always the same text.
    ///
    /// Every parameter is written, none is left to a profile. Accounts are in address order. For a value that
    /// [`Genesis::build`] accepts, [`Genesis::parse`] reads back exactly that value.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let accounts_bytes = self.accounts.len().saturating_mul(crate::ACCOUNT_LINE_BYTES_MAX);
        let mut text = String::with_capacity(accounts_bytes.saturating_add(8192));
        // Writing to a String does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let params = &self.params;
        out.push_str("# The first block of a VibeCoin chain. Its hash covers every value in this file,\n");
        out.push_str("# so all nodes of the chain have the same values here.\n\n");
        entry(
            out,
            "format",
            &FORMAT.to_string(),
            "version of this file's format",
        )?;
        entry(out, "network", &quoted(&params.network), "name of the chain")?;
        entry(
            out,
            "time",
            &quoted(&time::to_text(self.time)),
            "time of block 0, RFC 3339 or milliseconds since 1970",
        )?;
        entry(
            out,
            "address_prefix",
            &quoted(&params.address_prefix),
            "what addresses start with",
        )?;
        entry(out, "symbol", &quoted(&params.symbol), "symbol of the money")?;
        entry(
            out,
            "decimals",
            &params.decimals.to_string(),
            "1 unit shown = 10^decimals base units",
        )?;
        let model = FAULT_MODELS
            .iter()
            .find(|(_, model)| *model == params.fault_model);
        let model = model.map_or("", |(name, _)| name);
        entry(
            out,
            "fault_model",
            &quoted(model),
            "byzantine: quorum > 2/3; crash: quorum > 1/2, nobody may lie",
        )?;
        entry(
            out,
            "dev",
            &params.dev.to_string(),
            "true: a developer's chain, never for real money",
        )?;

        out.push_str("\n[parameters]\n");
        for (i, parameter) in PARAMETERS.iter().enumerate() {
            if let Some(heading) = parameter.heading {
                writeln!(out, "{}# {heading}", if i == 0 { "" } else { "\n" })?;
            }
            entry(
                out,
                parameter.name,
                &number((parameter.get)(params)),
                parameter.doc,
            )?;
        }

        out.push_str("\n# Who votes: public key, voting power, and the account that fees are paid to.\n");
        for validator in &self.validators {
            writeln!(out, "[[validators]]")?;
            writeln!(out, "key = \"{}\"", validator.key)?;
            writeln!(out, "power = {}", number(validator.power.0))?;
            writeln!(out, "payout = {}\n", quoted(&address(self, &validator.payout)))?;
        }

        out.push_str("# Who owns how much, in base units.\n[accounts]\n");
        for (owner, balance) in &self.accounts {
            writeln!(out, "{} = \"{balance}\"", address(self, owner))?;
        }
        Ok(())
    }
}

fn address(genesis: &Genesis, address: &vibecoin_primitives::Address) -> String {
    AddressPrefix::new(&genesis.params.address_prefix).map_or_else(
        |_| quoted(&format!("{address:?}")),
        |prefix| address.to_text(&prefix),
    )
}

fn entry(out: &mut String, key: &str, value: &str, comment: &str) -> fmt::Result {
    let setting = format!("{key} = {value}");
    writeln!(out, "{setting:<40} # {comment}")
}

/// TOML integers end at 2^63 - 1; larger ones are written as text.
fn number(value: u64) -> String {
    if i64::try_from(value).is_ok() {
        value.to_string()
    } else {
        format!("\"{value}\"")
    }
}

/// A TOML string. Values that pass the checks need no escapes; others must not break the file.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.extend(format!("\\U{:08X}", u32::from(c)).chars()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
