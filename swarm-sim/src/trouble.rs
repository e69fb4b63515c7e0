//! Random faults.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::{Failure, Link, Machine, World};

/// Random faults and requests, one after another.
///
/// ```
/// use std::time::Duration;
/// use swarm_sim::{Config, Trouble, World};
///
/// let mut world = World::new(Config { managers: 3, ..Config::new(5, 4) });
/// world.start();
/// Trouble::new(5).reign(&mut world, Duration::from_secs(5))?;
/// world.settle(Duration::from_secs(90))?;
/// # Ok::<(), swarm_sim::Failure>(())
/// ```
#[derive(Debug)]
pub struct Trouble {
    rng: StdRng,
    services: u8,
}

impl Trouble {
    /// The seed decides what happens, and when.
    pub fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed ^ 0x7472_6f75_626c_6500), services: 0 }
    }

    /// Faults for so long; afterwards all machines have power and the network is whole.
    ///
    /// # Errors
    ///
    /// As soon as a rule is broken.
    pub fn reign(&mut self, world: &mut World, time: Duration) -> Result<(), Failure> {
        let end = world.elapsed() + time;
        while world.elapsed() < end {
            self.strike(world);
            world.run_for(Duration::from_millis(self.rng.random_range(20..900)))?;
        }
        world.set_link(Link::calm());
        world.heal();
        for machine in world.machines() {
            world.power_on(machine);
        }
        Ok(())
    }

    fn strike(&mut self, world: &mut World) {
        let machines: Vec<Machine> = world.machines().collect();
        let one = self.any(&machines);
        let other = self.any(&machines);
        match self.rng.random_range(0..20) {
            0..=2 => world.cut_power(one),
            3 => {
                let leader = world.leader().unwrap_or(one);
                world.cut_power(leader);
            }
            4..=7 => world.power_on(one),
            8 => world.cut(one, other),
            9 => world.cut_one_way(one, other),
            10 => {
                let island: Vec<Machine> =
                    machines.into_iter().filter(|_| self.rng.random_bool(0.4)).collect();
                if !island.is_empty() && island.len() < world.machines().count() {
                    world.split(&island);
                }
            }
            11..=13 => world.heal(),
            14 => world.set_link(Link::rough()),
            15 => world.set_link(Link::calm()),
            16 => world.transfer_leadership(one),
            17 => self.create(world),
            18 => {
                let service = self.service();
                let replicas = self.rng.random_range(0..6);
                world.scale(&service, replicas);
            }
            _ => {
                let service = self.service();
                world.remove_service(&service);
            }
        }
    }

    fn create(&mut self, world: &mut World) {
        let number = self.services;
        self.services += 1;
        let network = world.create_network(&format!("net{number}"));
        let replicas = self.rng.random_range(1..5);
        world.create_service(&format!("service{number}"), replicas, &[network]);
    }

    fn service(&mut self) -> String {
        format!("service{}", self.rng.random_range(0..self.services.max(1)))
    }

    fn any(&mut self, machines: &[Machine]) -> Machine {
        machines.get(self.rng.random_range(0..machines.len().max(1))).copied().unwrap_or(Machine(0))
    }
}
