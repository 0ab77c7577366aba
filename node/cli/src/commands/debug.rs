//! `vibecoin debug`: tools for developers.

use clap::Subcommand;
use serde_json::json;
use vibecoin_primitives::{PublicKey, Signature};

use crate::error::CliError;
use crate::hex_args::{bytes, fixed};
use crate::output::Answer;

/// The commands of `debug`.
#[derive(Debug, Subcommand)]
pub enum DebugCommand {
    /// The chain's signature rule on any bytes; exit 8 with the reason when it does not hold
    VerifySig {
        /// 32 bytes of hex, with or without 0x
        #[arg(long, value_name = "HEX")]
        public_key: String,
        /// 64 bytes of hex
        #[arg(long, value_name = "HEX")]
        signature: String,
        /// Any bytes of hex; may be empty
        #[arg(long, value_name = "HEX")]
        message: String,
    },
}

impl DebugCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Exit 8 when the signature is not valid, 2 when the arguments are not hex of the right length.
    pub fn run(self) -> Result<Answer, CliError> {
        let Self::VerifySig {
            public_key,
            signature,
            message,
        } = self;
        let key = PublicKey(fixed("public key", &public_key)?);
        let signature = Signature(fixed("signature", &signature)?);
        let message = bytes("message", &message)?;
        match key.verify(&message, &signature) {
            Ok(()) => Ok(Answer::new(json!({ "valid": true })).text("valid")),
            Err(error) => {
                // The variant's name in snake case: `KeySmallOrder` becomes `key_small_order`.
                let mut reason = String::new();
                for c in format!("{error:?}").chars() {
                    if c.is_ascii_uppercase() && !reason.is_empty() {
                        reason.push('_');
                    }
                    reason.push(c.to_ascii_lowercase());
                }
                Err(CliError::unverified(format!("invalid: {error}"))
                    .reason(reason)
                    .data(json!({ "valid": false })))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use vibecoin_primitives::SecretKey;

    fn check(public_key: &str, signature: &str, message: &str) -> Result<Answer, CliError> {
        let own = |text: &str| text.to_owned();
        DebugCommand::VerifySig {
            public_key: own(public_key),
            signature: own(signature),
            message: own(message),
        }
        .run()
    }

    #[test]
    fn a_good_signature_passes_with_and_without_prefix_and_a_bad_one_says_why() {
        let key = SecretKey::from_seed(&[1; 32]);
        let (public, signature) = (key.public_key().to_string(), key.sign(b"hi").to_string());
        assert!(check(&public, &signature, "0x6869").is_ok());
        assert!(
            check(
                public.trim_start_matches("0x"),
                signature.trim_start_matches("0x"),
                "6869"
            )
            .is_ok()
        );
        let error = check(&public, &signature, "").unwrap_err();
        assert_eq!(
            (error.exit, error.reason.as_str()),
            (Exit::VerificationFailed, "mismatch")
        );
        let error = check(&"00".repeat(32), &signature, "6869").unwrap_err();
        assert_eq!(
            (error.exit, error.reason.as_str()),
            (Exit::VerificationFailed, "key_small_order")
        );
        for (public, signature, message) in [
            ("0x12", signature.as_str(), ""),
            (&public, "zz", ""),
            (&public, &signature, "1"),
        ] {
            assert_eq!(check(public, signature, message).unwrap_err().exit, Exit::Usage);
        }
    }
}
