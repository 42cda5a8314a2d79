"""The superclasses of Living-17 and Entity-30, with their source and target subclasses, as WordNet ids.

BREEDS: Santurkar, Tsipras & Madry, "BREEDS: Benchmarks for Subpopulation Shift" (2021), random split.

The lists were computed, not typed. From github.com/MadryLab/BREEDS-Benchmarks at f83be509, the folder
imagenet_class_hierarchy/modified: class_hierarchy.txt (SHA-256 039cfadd...), dataset_class_info.json
(be90503d...) and node_names.txt (322af457...). On these, two programs gave the same lists: the publishers' own
`make_living17` and `make_entity30` with split="rand" (github.com/MadryLab/robustness at a9541241,
robustness/tools/breeds_helpers.py, on NumPy 2.4), and one written from this rule:

    depth of a node: the longest path from the root n00001740, over nodes that have ImageNet classes below them
    superclasses: the nodes of depth 5 below n00004258 (Living-17), or of depth 4 (Entity-30), with at least
        4 or 8 ImageNet classes at or below them, sorted by id
    rng = numpy.random.RandomState(2); for each superclass in turn
        picked = rng.choice(sorted ids of its ImageNet classes, 4 or 8, replace=False)
        source, target = first half, second half

`RandomState` promises the same stream in every version of NumPy.
"""

from typing import NamedTuple


class Superclass(NamedTuple):
    """One class of the task: its node in the publishers' hierarchy, its name, its ImageNet classes by domain."""

    node: str
    name: str
    source: tuple[str, ...]
    target: tuple[str, ...]


def _read(*rows: str) -> tuple[Superclass, ...]:
    """Rows `node name: source ids -> target ids`."""
    out = []
    for row in rows:
        head, ids = row.split(": ")
        node, name = head.split(" ", 1)
        source, target = (tuple(part.split()) for part in ids.split(" -> "))
        out.append(Superclass(node, name, source, target))
    return tuple(out)


LIVING_17 = _read(
    # eft, axolotl -> common newt, spotted salamander
    "n01629276 salamander: n01631663 n01632777 -> n01630670 n01632458",
    # box turtle, leatherback turtle -> loggerhead, mud turtle
    "n01662784 turtle: n01669191 n01665541 -> n01664065 n01667114",
    # whiptail, alligator lizard -> African chameleon, banded gecko
    "n01674464 lizard: n01685808 n01689811 -> n01694178 n01675722",
    # night snake, garter snake -> sea snake, boa constrictor
    "n01726692 snake: n01740131 n01735189 -> n01751748 n01742172",
    # tarantula, black and gold garden spider -> garden spider, wolf spider
    "n01772222 spider: n01774750 n01773157 -> n01773797 n01775062",
    # ptarmigan, prairie chicken -> ruffed grouse, black grouse
    "n01795088 grouse: n01796340 n01798484 -> n01797886 n01795545",
    # macaw, lorikeet -> African grey, sulphur-crested cockatoo
    "n01816887 parrot: n01818515 n01820546 -> n01817953 n01819313",
    # Dungeness crab, fiddler crab -> rock crab, king crab
    "n01976957 crab: n01978287 n01980166 -> n01978455 n01981276",
    # bloodhound, Pekinese -> Great Pyrenees, papillon
    "n02084071 dog: n02088466 n02086079 -> n02111500 n02086910",
    # coyote, red wolf -> white wolf, timber wolf
    "n02114100 wolf: n02114855 n02114712 -> n02114548 n02114367",
    # grey fox, Arctic fox -> red fox, kit fox
    "n02118333 fox: n02120505 n02120079 -> n02119022 n02119789",
    # tiger cat, Egyptian cat -> Persian cat, Siamese cat
    "n02121808 domestic cat: n02123159 n02124075 -> n02123394 n02123597",
    # sloth bear, American black bear -> ice bear, brown bear
    "n02131653 bear: n02134418 n02133161 -> n02134084 n02132136",
    # dung beetle, rhinoceros beetle -> ground beetle, long-horned beetle
    "n02164464 beetle: n02172182 n02174001 -> n02167151 n02168699",
    # sulphur butterfly, admiral -> cabbage butterfly, ringlet
    "n02274259 butterfly: n02281406 n02276258 -> n02280649 n02277742",
    # gibbon, orangutan -> gorilla, chimpanzee
    "n02470325 ape: n02483362 n02480495 -> n02480855 n02481823",
    # marmoset, titi -> spider monkey, howler monkey
    "n02484322 monkey: n02490219 n02493509 -> n02493793 n02492660",
)

ENTITY_30 = _read(
    # green mamba, king snake, garter snake, thunder snake ->
    # boa constrictor, green snake, ringneck snake, rock python
    "dummy9 serpentes: "
    "n01749939 n01734418 n01735189 n01728572 -> n01742172 n01729977 n01728920 n01744401",
    # goldfinch, brambling, water ouzel, chickadee -> magpie, house finch, indigo bunting, bulbul
    "n01524359 passerine: "
    "n01531178 n01530575 n01601694 n01592084 -> n01582220 n01532829 n01537544 n01560419",
    # alligator lizard, Gila monster, American chameleon, green lizard ->
    # Komodo dragon, African chameleon, agama, banded gecko
    "n01674216 saurian: "
    "n01689811 n01692333 n01682714 n01693334 -> n01695060 n01694178 n01687978 n01675722",
    # harvestman, barn spider, scorpion, black widow -> wolf spider, black and gold garden spider, tick, tarantula
    "n01769347 arachnid: "
    "n01770081 n01773549 n01770393 n01774384 -> n01775062 n01773157 n01776313 n01774750",
    # albatross, red-backed sandpiper, crane, white stork -> goose, dowitcher, limpkin, drake
    "n01844917 aquatic bird: "
    "n02058221 n02027492 n02012849 n02002556 -> n01855672 n02033041 n02013706 n01847000",
    # crayfish, spiny lobster, hermit crab, Dungeness crab -> king crab, rock crab, American lobster, fiddler crab
    "n01974773 crustacean: "
    "n01985128 n01984695 n01986214 n01978287 -> n01981276 n01978455 n01983481 n01980166",
    # Italian greyhound, black-footed ferret, Bedlington terrier, basenji ->
    # flat-coated retriever, otterhound, Shih-Tzu, Boston bull
    "n02075296 carnivore: "
    "n02091032 n02443484 n02093647 n02110806 -> n02099267 n02091635 n02086240 n02096585",
    # lacewing, fly, grasshopper, sulphur butterfly -> long-horned beetle, leafhopper, dung beetle, admiral
    "n02159955 insect: "
    "n02264363 n02190166 n02226429 n02281406 -> n02168699 n02259212 n02172182 n02276258",
    # llama, gazelle, zebra, ox -> hog, hippopotamus, hartebeest, warthog
    "n02370806 ungulate: "
    "n02437616 n02423022 n02391049 n02403003 -> n02395406 n02398521 n02422106 n02397096",
    # baboon, howler monkey, Madagascar cat, chimpanzee -> siamang, indri, capuchin, patas
    "n02469914 primate: "
    "n02486410 n02492660 n02497673 n02481823 -> n02483708 n02500267 n02492035 n02486261",
    # coho, tench, lionfish, rock beauty -> sturgeon, puffer, eel, gar
    "n02514825 bony fish: "
    "n02536864 n01440764 n02643566 n02606052 -> n02640242 n02655020 n02526121 n02641379",
    # breakwater, picket fence, turnstile, bannister -> chainlink fence, stone wall, dam, worm fence
    "n02796623 barrier: "
    "n02894605 n03930313 n04501370 n02788148 -> n03000134 n04326547 n03160309 n04604644",
    # bookshop, castle, mosque, butcher shop -> grocery store, toyshop, palace, beacon
    "n02913152 building: "
    "n02871525 n02980441 n03788195 n02927161 -> n03461385 n04462240 n03877845 n02814860",
    # printer, pay-phone, microphone, computer keyboard -> modem, cassette player, monitor, dial telephone
    "n03278248 electronic equipment: "
    "n04004767 n03902125 n03759954 n03085013 -> n03777754 n02979186 n03782006 n03187595",
    # clog, Loafer, maillot, running shoe -> sandal, knee pad, cowboy boot, Christmas stocking
    "n03381126 footwear: "
    "n03047690 n03680355 n03710637 n04120489 -> n04133789 n03623198 n03124043 n03026506",
    # academic gown, apron, miniskirt, fur coat -> jean, vestment, sarong, swimming trunks
    "n03419014 garment: "
    "n02669723 n02730930 n03770439 n03404251 -> n03594734 n04532106 n04136333 n04371430",
    # pickelhaube, hair slide, shower cap, bonnet -> bathing cap, cowboy hat, bearskin, crash helmet
    "n03502509 headdress: "
    "n03929855 n03476684 n04209133 n02869837 -> n02807133 n03124170 n02817516 n03127747",
    # washer, microwave, Crock Pot, vacuum -> toaster, espresso maker, space heater, dishwasher
    "n03528263 home appliance: "
    "n04554684 n03761084 n03133878 n04517823 -> n04442312 n03297495 n04265275 n03207941",
    # measuring cup, cleaver, coffeepot, spatula -> frying pan, cocktail shaker, tray, caldron
    "n03621049 kitchen utensil: "
    "n03733805 n03041632 n03063689 n04270147 -> n03400231 n03062245 n04476259 n02939185",
    # digital watch, analog clock, parking meter, magnetic compass -> barometer, wall clock, hourglass, digital clock
    "n03733925 measuring instrument: "
    "n03197337 n02708093 n03891332 n03706229 -> n02794156 n04548280 n03544143 n03196217",
    # limousine, school bus, moped, convertible -> trailer truck, beach wagon, police van, garbage truck
    "n03791235 motor vehicle: "
    "n03670208 n04146614 n03785016 n03100240 -> n04467665 n02814533 n03977966 n03417042",
    # French horn, maraca, grand piano, upright -> acoustic guitar, organ, electric guitar, violin
    "n03800933 musical instrument: "
    "n03394916 n03720891 n03452741 n04515003 -> n02676566 n03854065 n03272010 n04536866",
    # feather boa, neck brace, bib, Windsor tie -> necklace, stole, bow tie, bolo tie
    "n03816005 neckwear: "
    "n03325584 n03814639 n02834397 n04591157 -> n03814906 n04325704 n02883205 n02865351",
    # ski, dumbbell, croquet ball, racket -> rugby ball, balance beam, horizontal bar, tennis ball
    "n04285146 sports equipment: "
    "n04228054 n03255030 n03134739 n04039381 -> n04118538 n02777292 n03535780 n04409515",
    # mixing bowl, water jug, beer glass, water bottle -> goblet, wine bottle, coffee mug, plate
    "n04381994 tableware: "
    "n03775546 n04560804 n02823750 n04557648 -> n03443371 n04591713 n03063599 n07579787",
    # quill, combination lock, padlock, screw -> fountain pen, screwdriver, shovel, torch
    "n04451818 tool: "
    "n04033901 n03075370 n03874599 n04153751 -> n03388183 n04154565 n04208210 n04456115",
    # container ship, lifeboat, aircraft carrier, trimaran -> liner, wreck, catamaran, yawl
    "n04530566 vessel: "
    "n03095699 n03662601 n02687172 n04483307 -> n03673027 n04606251 n02981792 n04612504",
    # potpie, mashed potato, pizza, cheeseburger -> burrito, hot pot, meat loaf, hotdog
    "n07557434 dish: "
    "n07875152 n07711569 n07873807 n07697313 -> n07880968 n07590611 n07871810 n07697537",
    # zucchini, cucumber, butternut squash, artichoke -> cauliflower, spaghetti squash, acorn squash, cardoon
    "n07707451 vegetable: "
    "n07716358 n07718472 n07717556 n07718747 -> n07715103 n07716906 n07717410 n07730033",
    # strawberry, pineapple, jackfruit, Granny Smith -> buckeye, corn, ear, acorn
    "n13134947 fruit: "
    "n07745940 n07753275 n07754684 n07742313 -> n12768682 n12144580 n13133613 n12267677",
)
