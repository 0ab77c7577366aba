//! Exit codes: one table for client commands and the daemon; no code has two meanings.

macro_rules! exits {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $label:literal;)*) => {
        /// Exit status of a process.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Exit { $($(#[$doc])* $name = $code,)* }

        impl Exit {
            /// Every exit, ascending by code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name in the table.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

exits! {
    /// Success; for the daemon a clean stop.
    Ok = 0, "ok";
    /// A failure without a specific code.
    Failure = 1, "failure";
    /// Wrong arguments.
    Usage = 2, "usage";
    /// No node answers at the given address.
    CannotConnect = 3, "cannot connect";
    /// The transaction was refused, or included and failed.
    Rejected = 4, "transaction rejected";
    /// The block, transaction, account or key does not exist.
    NotFound = 5, "not found";
    /// The wait ended first; the outcome may still be decided.
    Timeout = 6, "timeout";
    /// A configuration or genesis file given to a client command is invalid, or would be with the additions.
    InvalidFile = 7, "input file invalid";
    /// A proof, certificate or signature is invalid.
    VerificationFailed = 8, "verification failed";
    /// Another process holds the home directory.
    Locked = 9, "locked";
    /// The daemon refuses its configuration or its genesis file.
    Config = 10, "config";
    /// The home directory belongs to another genesis.
    GenesisMismatch = 11, "genesis mismatch";
    /// The node answers but is not ready.
    NotReady = 12, "not ready";
    /// Local data is damaged.
    Corruption = 20, "corruption";
    /// A write failed for lack of space.
    DiskFull = 21, "disk full";
    /// A write or sync failed.
    Io = 22, "I/O error";
    /// Continuing could break safety.
    SafetyHalt = 30, "safety halt";
    /// A key file is missing, unreadable, too open, of another owner, or the passphrase is wrong.
    Key = 40, "key or permissions";
    /// The data was written by a newer version.
    SchemaTooNew = 50, "other schema";
    /// SIGINT arrived a second time.
    Interrupted = 130, "signal";
    /// SIGTERM arrived a second time.
    Terminated = 143, "signal";
}

impl Exit {
    /// The code.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The exit with this code, as used by other crates; a code that is not in the table is a failure.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        Self::ALL
            .iter()
            .copied()
            .find(|exit| exit.code() == code)
            .unwrap_or(Self::Failure)
    }

    /// The name as a symbol for programs: `transaction_rejected`.
    #[must_use]
    pub fn symbol(self) -> String {
        self.label().to_ascii_lowercase().replace([' ', '/'], "_")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_enum_is_the_table() {
        let table: Vec<(u8, String)> = include_str!("../exit-codes.md")
            .lines()
            .skip(2)
            .take_while(|line| !line.is_empty())
            .map(|line| {
                let mut cells = line.split('|').skip(1).map(str::trim);
                (
                    cells.next().unwrap().parse().unwrap(),
                    cells.next().unwrap().to_owned(),
                )
            })
            .collect();
        let ours: Vec<(u8, String)> = Exit::ALL
            .iter()
            .map(|exit| (exit.code(), exit.label().to_owned()))
            .collect();
        assert_eq!(ours, table);
    }

    #[test]
    fn the_exits_that_a_unit_file_does_not_restart_are_in_the_table() {
        for code in vibecoin_devnet::deployment::FINAL_EXITS.split(' ') {
            assert_ne!(Exit::from_code(code.parse().unwrap()), Exit::Failure, "{code}");
        }
    }

    #[test]
    fn codes_of_other_rooms_find_their_exit() {
        for exit in Exit::ALL {
            assert_eq!(Exit::from_code(exit.code()), *exit);
        }
        assert_eq!(Exit::from_code(77), Exit::Failure);
        assert_eq!(Exit::Io.symbol(), "i_o_error");
    }
}
