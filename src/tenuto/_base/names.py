"""Names of two words for flow runs that were given none."""

import random

__all__ = ["two_words"]

_ADJECTIVES = """
able agile amber ample arctic azure balmy bold brave breezy bright brisk bronze calm candid clever cobalt
copper coral cosmic crimson crisp curious daring deft dewy eager early earnest elegant emerald fabled fair
fearless festive fleet fond frank fresh frosty gentle gilded glad golden graceful hardy hazel honest humble
indigo ivory jade jolly keen kind lilac lively lucid lunar maple marine mellow merry mighty mild misty modest
mossy nimble noble ochre olive opal patient pearl placid plucky polar proud quick quiet radiant rapid rosy
ruby rustic sage scarlet sensible serene silent silver sleek snowy sober solar spry steady sterling sturdy
sunny swift tidy tranquil velvet violet vivid warm willing winged wise witty
""".split()  # noqa: SIM905  # as a list these would be two hundred lines
_NOUNS = """
acorn alder anchor antler aspen aurora badger basil beacon beaver birch bison brook canyon cedar cello clover
comet condor cornet coyote crane cricket cypress dahlia delta dolphin drum dune eagle egret elk ember falcon
fern ferret fiddle finch fjord flute forest fox gale garnet gazelle geyser glacier grove gull harbor harp hawk
heron hickory ibex iris island jackal jasper juniper kestrel lagoon lantern larch lark lemur lily linden
lizard lotus lute lynx magpie mallard mango marten meadow meteor mink moose nebula newt nutmeg oak oboe ocean
orchid oriole osprey otter owl panda pebble pelican penguin petrel pine plover prairie puffin quail quartz
rabbit raven reef robin salmon sparrow spruce starling summit swan tern thistle tiger topaz toucan tulip
tundra turtle viola walnut walrus willow wren yak zebra
""".split()  # noqa: SIM905  # as a list these would be two hundred lines


def two_words(rng: random.Random | None = None) -> str:
    """Return a name such as `amber-otter`. Names need not be unique: ids are."""
    choose = (rng or random).choice
    return f"{choose(_ADJECTIVES)}-{choose(_NOUNS)}"
