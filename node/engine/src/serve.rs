//! stub until serve lands
use vibecoin_primitives::Height;
use vibecoin_replica::PeerId;
/// s
pub struct Server;
impl Server {
    /// a
    pub fn ask(&self, _p: PeerId, _f: Height, _c: u32) -> bool { false }
}
