"""Words of three to five letters, and the ones only the test split prints."""

_LEARN = """
apple arm atlas baker ball bank barn basil beach bean bell bird boat bone book bowl brick
bulb cabin cake camel card cave chair chalk city clay cloud coat coin comb corn crab crow dawn
deer desk dish dock door dove drum duck dust eagle earth east elbow fern field film fire flute
fog fork fox frog fruit gate gem ghost gift glass glove goat gold grape grass gulf hand harp hat
hawk herb hill honey hook horn horse ice ink iron ivy jam jar jazz jewel judge juice kite knee
lake lamp lava leaf lemon lily lion lock lute maple mask maze melon milk mint mouse mud music
nail navy nest night north nut oak oasis ocean olive onion opal otter owl oxen paint palm panda
paper park peach pear pearl piano pine pipe plum pond queen quill quilt rain raven rice river
road rock roof rope rose ruby sail salt sand seal seed sheep ship shoe silk sky smoke snow soap
song soup spoon storm sugar swan table tent tiger toast torch town train tulip uncle vase vest
vine vowel wagon wall wasp wave west whale wheat wheel wing wolf wood wool wren yacht yarn year
yeast yoga zebra zero zinc zone
"""

_HELD_OUT = """
acorn angel ant badge bark bear belt bread bus cedar clock cow crane daisy dice elm fan feast
fig finch flame foil giant hazel heron hive igloo jelly jump king kiwi ladle lark lime lynx
mango map moose moss oven pizza quail quiz radio reef robin rye salad scarf shark shell sun tea
toad tower tuna water yak yolk zoo
"""

LEARN = tuple(_LEARN.split())
HELD_OUT = tuple(_HELD_OUT.split())
