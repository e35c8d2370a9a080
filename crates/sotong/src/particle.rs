//! Korean particles after text that is known only at run time: `PARTICLE($name, "은/는")` in the catalogue.
//!
//! The form depends on how the last syllable is read: with a final consonant 은, 이, 을, 으로; without one (and, for
//! 로 alone, after ㄹ) 는, 가, 를, 로. Where the reading cannot be told, both are written: 은(는).

use fluent_bundle::{FluentArgs, FluentValue};

/// How the last syllable of a text ends when read aloud in Korean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Vowel,
    Rieul,
    Consonant,
    Unknown,
}

/// The Fluent function: the text of the first argument, not repeated, decides; the second names the pair.
pub(crate) fn fluent<'a>(positional: &[FluentValue<'a>], _named: &FluentArgs<'_>) -> FluentValue<'a> {
    let [before, FluentValue::String(pair)] = positional else { return FluentValue::Error };
    let before = match before {
        FluentValue::String(text) => text.to_string(),
        FluentValue::Number(number) => number.as_string().into_owned(),
        _ => return FluentValue::Error,
    };
    choose(&before, pair).map_or(FluentValue::Error, |particle| FluentValue::String(particle.into()))
}

/// The particle of `pair` that follows `before`; `None` for a pair there is not.
fn choose(before: &str, pair: &str) -> Option<&'static str> {
    let (consonant, vowel, either) = match pair {
        "은/는" => ("은", "는", "은(는)"),
        "이/가" => ("이", "가", "이(가)"),
        "을/를" => ("을", "를", "을(를)"),
        "과/와" => ("과", "와", "과(와)"),
        "으로/로" => ("으로", "로", "(으)로"),
        _ => return None,
    };
    Some(match ending(before) {
        Ending::Rieul if vowel == "로" => vowel,
        Ending::Consonant | Ending::Rieul => consonant,
        Ending::Vowel => vowel,
        Ending::Unknown => either,
    })
}

fn ending(text: &str) -> Ending {
    // Quotes, brackets and the like are not read.
    let Some(last) = text.chars().rev().find(|c| c.is_alphanumeric()) else { return Ending::Unknown };
    match last {
        '가'..='힣' => match (u32::from(last) - u32::from('가')) % 28 {
            0 => Ending::Vowel,
            8 => Ending::Rieul,
            _ => Ending::Consonant,
        },
        // 영 일 이 삼 사 오 육 칠 팔 구; 십, 백, 천 and 만, which a number ending in 0 is read with, have finals too.
        '0' | '3' | '6' => Ending::Consonant,
        '1' | '7' | '8' => Ending::Rieul,
        '2' | '4' | '5' | '9' => Ending::Vowel,
        'a'..='z' | 'A'..='Z' => latin(text),
        _ => Ending::Unknown,
    }
}

/// A Latin word as Koreans write it in Hangul: capitals and lone letters by the letters' names (엘, 엠, 엔, 알), other
/// words by their sound, as far as the last letters tell it.
fn latin(text: &str) -> Ending {
    let trimmed = text.trim_end_matches(|c: char| !c.is_alphanumeric());
    let start = trimmed
        .rfind(|c: char| !c.is_ascii_alphabetic())
        .map_or(0, |at| at + trimmed[at..].chars().next().map_or(0, char::len_utf8));
    let word = &trimmed[start..];
    let spelled = word.len() == 1 || word.chars().all(|c| c.is_ascii_uppercase());
    let word = word.to_ascii_lowercase();
    match word.as_bytes() {
        [.., b'l'] => Ending::Rieul,
        [.., b'r'] if spelled => Ending::Rieul,
        [.., b'm' | b'n'] => Ending::Consonant,
        [.., b'n', b'g'] | [.., b'c', b'k'] if !spelled => Ending::Consonant,
        // 챗 but 텍스트, 앱 but 타입: spelling does not tell.
        [.., b'b' | b'c' | b'g' | b'k' | b'p' | b't'] if !spelled => Ending::Unknown,
        _ => Ending::Vowel,
    }
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[track_caller]
    fn check(pair: &str, expect: &[&str]) {
        for joined in expect {
            let forms = ["(으)로", "은(는)", "이(가)", "을(를)", "과(와)", "으로", "은", "는", "이", "가", "을", "를"];
            let forms = forms.iter().chain(["과", "와", "로"].iter());
            let before = forms.into_iter().find_map(|form| joined.strip_suffix(form)).expect("ends in a particle");
            assert_eq!(format!("{before}{}", choose(before, pair).expect("known pair")), *joined);
        }
    }

    #[test]
    fn hangul_by_its_final() {
        check("은/는", &["서버는", "방은", "물은"]);
        check("이/가", &["주소가", "소켓이", "파일이"]);
        check("을/를", &["포트를", "이름을", "줄을"]);
        check("과/와", &["서버와", "소켓과"]);
        check("으로/로", &["서버로", "방으로", "파일로", "줄로"]);
    }

    #[test]
    fn digits_as_they_are_read() {
        check("은/는", &["0은", "1은", "2는", "3은", "4는", "5는", "6은", "7은", "8은", "9는", "10은", "12345는"]);
        check("으로/로", &["8080으로", "1로", "7로", "8888로", "3으로", "12345로"]);
    }

    #[test]
    fn latin_as_words_and_as_letters() {
        check(
            "은/는",
            &["epoll은", "room은", "sotong은", "echo는", "threads는", "server는", "TCP는", "URL은", "RFC는"],
        );
        check("으로/로", &["epoll로", "room으로", "echo로", "FIN으로", "HTML로", "USER로"]);
        check("이/가", &["connect이(가)", "stack이", "m이", "r이", "x가"]);
    }

    #[test]
    fn marks_are_not_read() {
        check("을/를", &["'--model'을", "\"방\"을", "[::1]:80을", "/tmp/소통/을"]);
        check("은/는", &["은(는)", "...은(는)", "日本은(는)"]);
    }

    #[test]
    fn an_unknown_pair_is_refused() {
        assert_eq!(choose("방", "은는"), None);
    }
}
