//! From a call's target and items to jobs in the queue.

use std::sync::Arc;

use super::crew::Crew;
use super::delivery::Delivery;
use super::job::{Answer, Calls, Gather, Job, Work};
use super::result::ThreadResult;
use super::target::ThreadTarget;
use crate::error::{Error, ErrorKind, Result, TaskError};
use crate::panics;
use crate::target::name_of;

/// How many chunks `map` makes for each thread.
const CHUNKS_PER_THREAD: usize = 4;

/// Makes a submission's result of its answers.
pub(super) type Collect<R, T> = fn(Vec<Answer<R>>) -> Result<T>;

/// Submits one call; `seen` is shown the result before it is delivered.
pub(super) fn call<F, Arguments>(
    crew: &Crew,
    target: F,
    arguments: Arguments,
    seen: impl FnOnce(&Result<F::Output>) + Send + 'static,
) -> Result<ThreadResult<F::Output>>
where
    F: ThreadTarget<Arguments>,
    F::Output: Send + 'static,
    Arguments: Send + 'static,
{
    let delivery = Delivery::new();
    let finish = finish_with::<F, _, _>(the_only_one, seen, delivery.clone());
    let gather = Gather::new(1, finish);
    let calls: Calls<F::Output> = Box::new(move |answered| {
        answered(panics::catch(|| target.call(arguments)));
    });
    let job: Arc<dyn Work> = Arc::new(Job::new(name_of::<F>(), gather, 0..1, calls));
    crew.submit(job.clone())?;
    Ok(ThreadResult::new(delivery, vec![job]))
}

/// Submits a call for each item, so many to a job.
pub(super) fn map<F, Arguments, T>(
    crew: &Crew,
    target: F,
    items: Vec<Arguments>,
    chunk: Option<usize>,
    collect: Collect<F::Output, T>,
) -> Result<ThreadResult<T>>
where
    F: ThreadTarget<Arguments>,
    F::Output: Send + 'static,
    Arguments: Send + 'static,
    T: Send + 'static,
{
    if chunk == Some(0) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "map with chunks of 0 items",
        ));
    }
    let delivery = Delivery::new();
    let count = items.len();
    if count == 0 {
        delivery.deliver(collect(Vec::new()));
        return Ok(ThreadResult::new(delivery, Vec::new()));
    }
    let finish = finish_with::<F, _, _>(collect, |_| {}, delivery.clone());
    let gather = Gather::new(count, finish);
    let target = Arc::new(target);
    let mut items = items.into_iter();
    let mut jobs: Vec<Arc<dyn Work>> = Vec::new();
    let mut first = 0;
    while first < count {
        let left = count - first;
        let size = chunk
            .unwrap_or_else(|| left.div_ceil(crew.size() * CHUNKS_PER_THREAD))
            .min(left);
        let calls = calls_of(&target, items.by_ref().take(size).collect());
        let places = first..first + size;
        let job: Arc<dyn Work> = Arc::new(Job::new(name_of::<F>(), gather.clone(), places, calls));
        if let Err(error) = crew.submit(job.clone()) {
            for job in jobs {
                job.cancel();
            }
            return Err(error);
        }
        jobs.push(job);
        first += size;
    }
    Ok(ThreadResult::new(delivery, jobs))
}

/// Submits one job with all of `items`, at least one, and has `finish` called
/// with the answers; it must not unwind.
pub(super) fn chunk<F, Arguments>(
    crew: &Crew,
    target: &Arc<F>,
    items: Vec<Arguments>,
    finish: impl FnOnce(Vec<Answer<F::Output>>) + Send + 'static,
) -> Result<Arc<dyn Work>>
where
    F: ThreadTarget<Arguments>,
    F::Output: Send + 'static,
    Arguments: Send + 'static,
{
    let places = 0..items.len();
    let gather = Gather::new(items.len(), finish);
    let calls = calls_of(target, items);
    let job: Arc<dyn Work> = Arc::new(Job::new(name_of::<F>(), gather, places, calls));
    crew.submit(job.clone())?;
    Ok(job)
}

/// All results, or the first error.
pub(super) fn all<R>(answers: Vec<Answer<R>>) -> Result<Vec<R>> {
    let results: Result<Vec<R>, TaskError> = answers.into_iter().collect();
    Ok(results?)
}

/// Every item's own result.
#[expect(
    clippy::unnecessary_wraps,
    reason = "it is collected as other results are"
)]
pub(super) fn every<R>(answers: Vec<Answer<R>>) -> Result<Vec<Answer<R>>> {
    Ok(answers)
}

fn the_only_one<R>(answers: Vec<Answer<R>>) -> Result<R> {
    let none = || Error::new(ErrorKind::Other, "get the result of a task: it has none");
    Ok(answers.into_iter().next().ok_or_else(none)??)
}

fn calls_of<F, Arguments>(target: &Arc<F>, items: Vec<Arguments>) -> Calls<F::Output>
where
    F: ThreadTarget<Arguments>,
    Arguments: Send + 'static,
{
    let target = target.clone();
    Box::new(move |answered| {
        for item in items {
            if !answered(panics::catch(|| target.call(item))) {
                return;
            }
        }
    })
}

/// Collects, shows and delivers the result, whatever panics meanwhile.
fn finish_with<F, R, T>(
    collect: Collect<R, T>,
    seen: impl FnOnce(&Result<T>) + Send + 'static,
    delivery: Arc<Delivery<T>>,
) -> impl FnOnce(Vec<Answer<R>>) + Send + 'static
where
    R: 'static,
    T: Send + 'static,
{
    move |answers| {
        let task = name_of::<F>();
        let collected = panics::catch(|| collect(answers));
        let result = collected.unwrap_or_else(|panic| {
            Err(TaskError::Panicked {
                task: task.to_owned(),
                message: panic.message,
                location: panic.location,
                backtrace: panic.backtrace,
            }
            .into())
        });
        if let Err(panic) = panics::catch(|| seen(&result)) {
            tracing::error!(
                task,
                message = panic.message,
                at = panic.location,
                "a task's callback panicked"
            );
        }
        delivery.deliver(result);
    }
}
