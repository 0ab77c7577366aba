mod support;
use support::*;
use vibecoin_consensus::Orderer as _;
#[test]
fn perf() {
    for n in [1usize, 4, 7, 16] {
        let t = std::time::Instant::now();
        let mut net = Net::new(Config::new(n, 1));
        let h = if n > 7 { 60 } else { 300 };
        assert!(net.run(h, 600));
        let c = net.nodes[0].orderer.status().counters;
        println!("PERF n={n}: {:.0} heights/s CPU, all nodes on one thread; virtual {:.1} heights/s; per height node 0: signed {:.2} verified {:.2} remembered {:.2}",
            h as f64 / t.elapsed().as_secs_f64(), h as f64 / (net.now as f64 / 1e6), c.signed as f64 / h as f64, c.verified as f64 / h as f64, c.verified_before as f64 / h as f64);
    }
    let mut config = Config::new(4, 3); config.faults[1] = Fault::Silent;
    let mut net = Net::new(config); let _ = net.run(200, 600);
    let late = net.longest().disk.chain.iter().filter(|(h, _)| h.round.0 > 0).count();
    println!("PERF one of 4 silent: {late} late of 200 heights, virtual {:.2} s", net.now as f64 / 1e6);
}
