//! How long ago something was, in docker's words.

/// `4 minutes ago`, for an RFC 3339 time in UTC; empty if it is none.
pub(super) fn ago(time: &str, now: u64) -> String {
    let Some(then) = unix(time) else { return String::new() };
    let seconds = now.saturating_sub(then);
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    let text = match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{minutes} minutes"),
        3600..5400 => "About an hour".to_owned(),
        5400..172_800 => format!("{hours} hours"),
        _ => format!("{} days", seconds / 86_400),
    };
    // Docker starts a sentence with these, but they follow a state here.
    let mut first = text.chars();
    let lower = first.next().map(|first_char| first_char.to_lowercase().collect::<String>() + first.as_str());
    format!("{} ago", lower.unwrap_or_default())
}

/// Seconds since 1970 of `2026-11-22T03:02:15.56Z`.
fn unix(time: &str) -> Option<u64> {
    let part = |from: usize, to: usize| time.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970 by counting years from March, so that a leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days.checked_sub(719_468)?) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_told() {
        assert_eq!(unix("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(unix("2026-11-22T03:02:15.562321551Z"), Some(1_795_316_535));
        assert_eq!(unix("2024-02-29T23:59:59Z"), Some(1_709_251_199));
        assert_eq!(unix("0001-01-01T00:00:00Z"), None);
        assert_eq!(unix("soon"), None);
        let at: u64 = 1_795_316_535;
        let told = |later| ago("2026-11-22T03:02:15Z", at + later);
        assert_eq!(told(16), "16 seconds ago");
        assert_eq!(told(61), "about a minute ago");
        assert_eq!(told(300), "5 minutes ago");
        assert_eq!(told(7200), "2 hours ago");
        assert_eq!(told(3 * 86_400), "3 days ago");
    }
}
