"""The contraction table of VQA's official evaluation: words without an apostrophe -> with it.

Kept as the words themselves. Source: VQA (Antol et al. 2015), vqaEval.py. Its entries with a
capital I can never match, as words are lower-cased first, and are left out.
"""

# One apostrophe, missing in the key.
_ONE = """'twas ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd
he's how'd how'll how's isn't it'd it'll ma'am might've mightn't must've mustn't needn't not've
o'clock oughtn't shan't should've shouldn't somebody'll somebody's someone'd someone'll someone's
something'd something'll that's there'd there're there's they'd they'll they're they've wasn't we've
weren't what'll what're what's what've when's where'd where's where've who'd who'll who's who've
why'll why're why's won't would've wouldn't y'all you'd you'll you're you've"""

# Several, exactly one of them missing in the key.
_SEVERAL = """couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've
someone'd've something'd've there'd've they'd've we'd've who'd've wouldn't've y'all'll you'd've
y'all'd've 'ow's'at"""


def _keys(word: str) -> list[str]:
    """The word without each one of its apostrophes."""
    return [word[:at] + word[at + 1 :] for at, mark in enumerate(word) if mark == "'"]


CONTRACTIONS = {key: word for word in (_ONE + " " + _SEVERAL).split() for key in _keys(word)}
CONTRACTIONS["somebody'd"] = "somebodyd"  # the official table's own slip
