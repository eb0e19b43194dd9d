//! rayon: the same tasks on threads of one process, which is what processes are measured against.

use ::rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use ::rayon::{ThreadPool, ThreadPoolBuilder};

use crate::Result;
use crate::harness::Contender;
use crate::link::{Calls, same};
use crate::{machine, work};

fn pool() -> Result<ThreadPool> {
    Ok(ThreadPoolBuilder::new()
        .num_threads(machine::usable_cpus())
        .build()?)
}

/// A parallel map of CPU-bound tasks.
pub(crate) fn map() -> Result<Box<dyn Contender>> {
    let pool = pool()?;
    let steps = work::five_milliseconds();
    let expected = work::burn(steps);
    Ok(Box::new(Calls(move |operations| {
        let results: Vec<u64> = pool.install(|| {
            (0..operations)
                .into_par_iter()
                .map(|_| work::burn(steps))
                .collect()
        });
        results
            .into_iter()
            .try_for_each(|result| same(result, expected))
    })))
}
