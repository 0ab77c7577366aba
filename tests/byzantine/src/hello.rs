//! The first message of a connection, encoded here: the node's type is private, and this one may contain
//! false values.

use vibecoin_network::ValidatorProof;
use vibecoin_network::wire::WIRE_VERSION;
use vibecoin_primitives::{Encoded, Hash, Height, encode};
use wincode::{SchemaRead, SchemaWrite};

/// Protocol of the hello.
pub const HELLO_PROTOCOL: &str = "/vibecoin/hello/1";

/// Contents of a node's first message. The test `a_node_admits_the_client` fails when the node's encoding
/// changes.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Hello {
    /// Version of the wire.
    pub version: u32,
    /// The chain.
    pub genesis: Hash,
    /// The newest block.
    pub head: Height,
    /// Name and version of the program.
    pub agent: String,
    /// Id of this run of the program.
    pub run: u64,
    /// Proof of the validator's identity.
    pub proof: Option<ValidatorProof>,
    /// The peer's addresses.
    pub addresses: Vec<String>,
    /// Addresses of other peers.
    pub others: Vec<String>,
}

impl Encoded for Hello {
    const NAME: &'static str = "hello";
    const BYTES_MAX: usize = 64 * 1024;
}

impl Hello {
    /// A hello of a peer that claims this head.
    #[must_use]
    pub fn new(genesis: Hash, head: u64) -> Self {
        Self {
            version: u32::from(WIRE_VERSION),
            genesis,
            head: Height(head),
            agent: "stranger/1".to_owned(),
            run: 7,
            proof: None,
            addresses: Vec::new(),
            others: Vec::new(),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        encode(self)
    }
}
