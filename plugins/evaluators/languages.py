"""Which language a text is in: by its letters, and where languages share letters by its commonest
words. Rough on purpose: an answer of a few words may be of any of them."""

import re
import unicodedata
from collections import Counter

_SCRIPTS = {
    "ar": "ARABIC", "fa": "ARABIC", "ur": "ARABIC", "bg": "CYRILLIC", "ru": "CYRILLIC",
    "uk": "CYRILLIC", "bn": "BENGALI", "el": "GREEK", "gu": "GUJARATI", "he": "HEBREW",
    "hi": "DEVANAGARI", "mr": "DEVANAGARI", "ne": "DEVANAGARI", "ja": "HIRAGANA", "kn": "KANNADA",
    "ko": "HANGUL", "ml": "MALAYALAM", "pa": "GURMUKHI", "ta": "TAMIL", "te": "TELUGU",
    "th": "THAI", "zh": "CJK",
}  # fmt: skip
"""Those that own a script, or share it with few others, by the first word of the letters' names."""

_LETTERS = {"fa": "پچژگ", "ur": "ٹڈڑےں", "uk": "іїєґ", "ru": "ыэё", "bg": "щъ"}
"""What tells languages of one script apart."""

_COMMON = {
    "de": "der die und das ist nicht ein eine zu mit den von auf für sie ich wir im auch",
    "en": "the and of to is in that it for you are with this on be as was not",
    "es": "el la de que y en los las un una es por con para no se del su como",
    "fi": "ja on ei se että hän oli mutta ovat kun niin myös tai voi mitä minä",
    "fr": "le la les et des est une un dans que pour qui pas sur vous nous du avec ce",
    "it": "il di che la e è un una per non sono con del della gli nel anche si",
    "nl": "de het een en van is niet dat op te zijn voor met ik je wij ook er",
    "pl": "i w nie się na jest to z że do jak ale po czy dla są",
    "pt": "o a de que e do da em um uma para com não os as no na por é",
    "sv": "och att det som en på är av för med den till inte ett har jag",
    "sw": "na ya wa ni kwa katika la za kuwa hii si yake watu pia",
    "vi": "và của là có không được cho một các người trong với này để những",
}  # fmt: skip


def is_written_in(text: str, language: str) -> bool:
    """Whether a text is in the language of a two-letter code; False for one not known here."""
    script = _script(text)
    if language in _SCRIPTS:
        own = script == _SCRIPTS[language] or (language == "ja" and script == "KATAKANA")
        letters = _LETTERS.get(language)
        return own and (letters is None or any(letter in text.lower() for letter in letters))
    return script == "LATIN" and _likeliest(text) == language


def known(language: str) -> bool:
    """Whether texts of this language can be told."""
    return language in _SCRIPTS or language in _COMMON


def _script(text: str) -> str:
    """The commonest among its letters; Japanese has kana between many Chinese characters."""
    names = Counter(unicodedata.name(letter, "?").split()[0] for letter in text if letter.isalpha())
    if names["HIRAGANA"] + names["KATAKANA"] > 0.1 * names.total():
        return "HIRAGANA"
    return names.most_common(1)[0][0] if names else ""


def _likeliest(text: str) -> str:
    words = Counter(re.findall(r"[^\W\d_]+", text.lower()))
    counts = {
        language: sum(words[word] for word in common.split())
        for language, common in _COMMON.items()
    }
    best = max(counts, key=lambda language: counts[language])
    return best if counts[best] else ""
