"""Which language a text in Latin letters is in, by its commonest small words; silent where they do not tell.

A library would know more languages and shorter texts; those at hand are 5 to 100 MB or need numpy, for a finding that
is an information. In a sentence of ordinary length three of these words stand nearly always.
"""

READ_CHARACTERS = 1024
FEWEST_HITS = 3  # different ones
LEAD = 2  # times as many as the next language, which shares some of the words

_WORDS = {
    "en": "the and of to is in that it for you are with this be on have not was your can will they",
    "de": "der die das und ist nicht ein eine zu den mit sich auf für von sie ich dass es wie auch wird",
    "fr": "le la les des et est une un pour que dans vous je pas qui sur du au avec ce sont votre",
    "es": "el la los las de que en es un una por con para no se su como más está lo del",
    "it": "il la di che un una per non con sono del della gli le si nel anche come ma questo",
    "pt": "os as de que em um uma para não com do da se por mais na no você",
    "nl": "de het een en van is dat niet in op te zijn voor met je die ik aan om ook er maar",
    "sv": "och att det som en på är av för med den till inte om ett jag har de kan du",
    "pl": "nie na się że jest do to jak co ale za po tak dla od czy przez są",
    "tr": "ve bir bu için ile de da çok ne olarak daha olan gibi var değil ben sen en kadar sonra",
    "id": "yang dan di untuk dengan ini tidak dari dalam adalah pada itu ke akan bisa saya anda atau",
}
_LANGUAGES = {language: frozenset(words.split()) for language, words in _WORDS.items()}


def language_of(text: str) -> str:
    """An ISO 639-1 code of `_WORDS`, or nothing."""
    words = set(text[:READ_CHARACTERS].casefold().split())
    hits = sorted(((len(words & small), language) for language, small in _LANGUAGES.items()), reverse=True)
    most, language = hits[0]
    return language if most >= FEWEST_HITS and most >= LEAD * hits[1][0] else ""
