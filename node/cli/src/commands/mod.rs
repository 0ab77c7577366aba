//! One module per command: its arguments, and their execution.

pub mod account;
pub mod bench;
pub mod block;
pub mod completions;
pub mod config;
pub mod db;
pub mod debug;
pub mod devnet;
pub mod genesis;
pub mod init;
pub mod keys;
pub mod mempool;
pub mod node;
pub mod peers;
pub mod poh;
pub mod proof;
pub mod rpc;
pub mod status;
pub mod subscribe;
pub mod testnet;
pub mod transfer;
pub mod tx;
pub mod validator;
pub mod version;
