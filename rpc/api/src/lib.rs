//! The node's interface as types: requests, answers and errors.
//!
//! Server and client are generated from the same traits ([`methods`]), so they cannot disagree. This
//! crate opens no socket and knows no node; it links neither the database nor the network.
//!
//! ```no_run
//! use jsonrpsee::http_client::HttpClient;
//! use vibecoin_rpc_api::{ApiError, methods::AccountApiClient as _};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = HttpClient::builder().build("http://127.0.0.1:8645")?;
//! let address = vibecoin_primitives::Address([7; 32]);
//! match client.get(address.into(), None).await {
//!     Ok(answer) => println!("at height {}: {:?}", answer.context.height, answer.value),
//!     Err(error) => println!("{:?}", ApiError::from_client(&error)),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Read in this order: [`scalars`] and [`block_ref`] (single values), [`list`], [`error`] (codes), [`views`]
//! (answers and options), [`methods`] (the traits), [`registry`] (the same methods as a table: parameter
//! names, cost, documentation).
//!
//! # Conventions
//!
//! - Methods are `namespace_camelCase`. Parameters are passed by name or by position. Options are a
//!   last object by position; by name they stand beside the parameters, or in an object `options`.
//! - Unknown and repeated names are refused with -32602 that names them.
//! - A 64-bit integer is a decimal string in answers, and a number or a decimal string in requests.
//! - Money is in base units, time in milliseconds since 1970, bytes in lower-case hex behind `0x`.
//! - A missing item is `null`, not an error.

pub mod block_ref;
pub mod error;
pub mod list;
pub mod methods;
pub mod registry;
pub mod scalars;
pub mod views;

pub use block_ref::{BlockRef, BlockSelector};
pub use error::{ApiError, Code, ErrorData};
pub use list::AtMost;
pub use scalars::{
    AddressArg, AddressText, Arg, Bytes, BytesArg, Cursor, CursorArg, HashArg, Shown, Text, U64,
};

/// Version of this interface: fields and methods are only added within a major version.
pub const API_VERSION: &str = "1.0.0";

/// Bounds that are part of the interface.
pub mod limits {
    /// Maximum number of addresses of `account_getMany`.
    pub const ADDRESSES_MAX: usize = 100;
    /// Maximum number of transactions of `tx_submitBatch`.
    pub const SUBMIT_BATCH_MAX: usize = 100;
    /// Maximum number of hashes of `tx_getStatuses`.
    pub const STATUSES_MAX: usize = 256;
    /// Maximum number of accounts or slots of one proof.
    pub const PROOF_KEYS_MAX: usize = 64;
    /// Maximum number of blocks of `poh_verify`.
    pub const POH_VERIFY_BLOCKS_MAX: u64 = 100;
    /// Maximum number of items of a page.
    pub const PAGE_MAX: u32 = 1000;
    /// Bytes of the items of a page, before they become JSON, above which the page ends early.
    pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
    /// Default number of items of a page.
    pub const PAGE_DEFAULT: u32 = 100;
    /// Maximum wait for `minHeight`, milliseconds.
    pub const MIN_HEIGHT_WAIT_MS: u64 = 2000;
    /// Maximum nesting of JSON in a member of a request, `params` or another: its own brackets count, those
    /// of the request and of the batch do not.
    pub const JSON_DEPTH_MAX: usize = 64;
}
