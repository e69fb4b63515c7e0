//! Looking again and again until something is so.

use std::time::Duration;

use super::error::DemoError;
use crate::clock;

/// What a look showed: the thing that was waited for, or what there was instead.
pub(super) type Look<T> = Result<T, String>;

/// Looks every 20 ms until `look` shows what is waited for; returns it and how long it took.
///
/// # Errors
///
/// [`DemoError::TooSlow`] after `patience`, with what the last look showed.
pub(super) async fn until<T>(
    step: &'static str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Look<T>,
) -> Result<(T, Duration), DemoError> {
    let begin = clock::now();
    loop {
        match look().await {
            Ok(seen) => return Ok((seen, begin.elapsed())),
            Err(seen) if begin.elapsed() > patience => {
                return Err(DemoError::TooSlow { step, seconds: patience.as_secs(), seen });
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

const POLL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_looks_until_it_is_so_or_too_late() {
        let mut looks = 0;
        let third = async || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(format!("look {looks}")) }
        };
        assert_eq!(until("x", Duration::from_secs(5), third).await.unwrap().0, 3);
        let never = until("x", Duration::ZERO, async || Look::<()>::Err("nothing".into())).await;
        assert!(never.unwrap_err().to_string().ends_with("nothing"));
    }
}
