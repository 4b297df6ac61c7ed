"""Words that pages are written with, each for one side: `test` prints words no other split shows.

A word belongs to the side that its checksum says, listed words and invented ones alike. What is
printed on every page of a sort (TOTAL, JALAN, SDN BHD, months, headings) is shared.
"""

import random
import zlib
from functools import cache

_LISTS = {
    "name": """
        abadi adil agung aman anggerik armada asia aurora awana bahagia bakti baru bayu berjaya
        berkat bestari bintang biru budi bumi cahaya cemerlang cempaka cergas chan cheong chin chong
        citra crown damai dato delima desa dewan dragon dunia eagle east emas empire fajar fook ever
        galaxy gemilang global golden grand green hang harmoni heng hock hong hup idaman impian
        indah intan jade jati jaya jelita juara kasih kee kenari kencana khoo kim kota kristal kuan
        kwong lai laut leong lian lim ling lucky luen mahkota maju makmur mawar mega melati melur
        mentari merdeka mesra metro mewah ming modern murni mutiara nam new nilam nusa ocean onn
        orchid pacific padu panorama pelangi permata perdana phoenix pintar prima pure puteri rahmat
        raja ramai restu ria royal sakura samudera saujana segar sejati sempurna seng seri setia
        siang sinar sing south spring star suria swan tai tan tek teratai thong tiga timur tong
        tropika tulip tung union unggul universal usaha utama vista wah wan warisan wawasan wei west
        wira wong yap yew yik ying yong zaman zenith
    """,
    "trade": """
        hardware trading stationery restaurant cafe bakery pharmacy electronics furniture motors
        bookstore minimart supermarket florist optical jewellery textile printing plumbing catering
        confectionery groceries timber electrical auto parts frozen food seafood noodle house
        steamboat kopitiam bistro deli grill toys sports shoes fashion boutique cosmetics hardwares
        machinery paint lighting ceramics tiles plastics packaging chemicals agro pets gifts
        souvenirs computers mobile telecom laundry salon clinic dental
    """,
    "street": """
        ampang angsa astana balau bangau batai bayan belimbing beringin bukit cempedak cengal cheras
        chempaka damar dedap delima desa duku durian enau gajah gasing gelang geliga hijau ipoh
        jambu jati jelutong kasturi kelapa kenanga kenari keruing ketapang kiara klang kuching kurau
        lada langsat limau manggis mawar melor merak meranti merbau nangka nibong nuri pandan pasar
        pauh pelangi perak permas petaling pinang pudu pulai puteri rajawali rambutan raya rimba ros
        sagu selasih semarak seroja serindit sungai tampoi tanjung teratai tempua tengku tupai ubi
        wangsa yew
    """,
    "town": """
        ampang bangi batu cheras dengkil gombak ipoh johor kajang kampar kangar kepong klang kluang
        kuantan kulai labuan langkawi melaka mersing miri muar nilai penang pontian puchong rawang
        segamat semenyih senai seremban serdang setapak sibu skudai subang sungai taiping tampin
        tangkak tawau temerloh ulu
    """,
    "item": """
        almond apple apron bag baguette ball banana basket battery belt blade blanket bolt book
        bottle bowl box bracket bread brush bucket bulb bun butter cable cake candle canvas cap card
        carrot chair cheese chicken chili chocolate clip cloth coconut coffee cookie cord corn cream
        cup curry cushion cutter cutlet detergent dish donut drill duck dumpling durian egg envelope
        eraser fan fastener file filter fish flour folder fork fritter frame garlic ginger glass
        glove glue gum hammer handle hinge hook hose jam juice kettle key knife lamb ladder lamp
        laksa latte lemon lettuce lid lighter lime lock mango marker mask mat meat milk mirror mop
        mug mushroom nail napkin needle noodle nut oil onion orange oyster pad paint pan paper paste
        peach pear pen pencil pepper pie pin pipe pizza plate pliers plug pork potato prawn pudding
        pump rack rag razor ribbon rice ring roll rope ruler salad salt sandwich satay sauce sausage
        saw scarf screw sealant shampoo shelf shirt shoe silicone soap socket sock soup spade spice
        spinach sponge spoon spring squid stapler steak sticker string sugar switch syrup tape tart
        tea thread tile tissue toast tofu tomato torch towel toy tray tube valve vase vinegar wafer
        waffle walnut watch water wax wheel whisk wire wrap wrench yam yogurt zip
    """,
    "adjective": """
        aluminium baby big black blue boneless brown chilled classic clear cold cotton crispy dark
        deluxe double dried extra fine flat fresh fried frozen glossy gold green grey hot iced jumbo
        large light long matt medium mini mixed natural nylon organic original pink plain plastic
        premium pure purple red regular roasted rough round rubber salted sharp short silver slim
        small smoked soft sour special spicy square steel sweet thick thin tiny white whole wide
        wooden yellow
    """,
    "person": """
        aaron adam ahmad aida alex alice amin amir anita anna arif azlan azman ben chandra chen
        chong cindy daniel david devi diana dinesh eddie elaine eric faizal farah fatimah felix
        gopal grace hafiz haris hassan helen henry ibrahim irene ismail ivan james janet jason jenny
        joanne john joseph julia kamal karen kavitha kelvin kumar lai laila lily linda lisa liyana
        mahmud maria mark mary mei melissa michael mohan monica nadia nancy nathan nora nurul olivia
        omar patrick paul peter priya rachel rahim raj ravi robert rosli ruth sally sam sarah siti
        sofia stella steven susan tan thomas tina vincent wendy yusof zainal zara
    """,
    "topic": """
        attendance budget capacity consumption cost deliveries demand distance donations downloads
        duration earnings emissions energy enrolment errors expenses exports fees forecast goals
        growth harvest hours imports income inventory length loans losses members mileage orders
        output passengers payments points population power prices production profit quantity
        rainfall ratings returns revenue salaries sales savings scores shipments speed stock
        students subscribers temperature tickets traffic trips turnover units visitors volume votes
        wages waste weight yield
    """,
    "place": """
        airport archive atlas bakery bank bay beach bridge campus canal castle cedar central chapel
        church cliff coast college court creek dock east elm factory farm ferry field forest fort
        garden gate glen grove hall harbour hill hotel island junction lake library lodge mall manor
        market meadow mill mine museum north oak office orchard palace park pier plaza pond port
        quarry quay river school shop south spring square stadium station store studio summit temple
        terminal tower valley village west wharf woods yard
    """,
    "thing": """
        account address agent amount approval area assistant badge batch branch budget card channel
        city class client code colour company contact contract country course currency customer
        deadline department deposit desk device district email employer event fleet floor grade
        group holder identity insurance language level licence location locker manager model
        nationality network occupation office operator owner package password permit phone plan
        platform policy position postcode priority project province rank reference region room route
        school season section serial server shift signature size source sponsor stage state status
        street student subject supplier team terminal ticket title tutor user vehicle vendor version
        visitor warehouse zone
    """,
}
_PARTS = """
ba be bi bo bra ca ce co cra da de di do dra fa fe fi fo ga ge go gra ha he hi ho ja je jo ka ke
ki ko la le li lo lu ma me mi mo mu na ne ni no nu pa pe pi po pra ra re ri ro ru sa se si so su
sta ta te ti to tra tu va ve vi vo wa we wi xa ya yo za ze zi zo zu
"""
_SYLLABLES = _PARTS.split()
_ENDS = ("", "", "n", "r", "s", "l", "x", "m", "k", "t", "ng")


def held_out(word: str) -> bool:
    """Whether only the test split prints a word (in lower case)."""
    return zlib.crc32(word.encode()) % 4 == 0


@cache
def listed(kind: str, test: bool) -> tuple[str, ...]:
    """The words of a list for one side."""
    return tuple(word for word in dict.fromkeys(_LISTS[kind].split()) if held_out(word) == test)


KINDS = tuple(_LISTS)


class Words:
    """The words of one side, drawn with one generator."""

    def __init__(self, rng: random.Random, test: bool) -> None:
        self.rng = rng
        self.test = test

    def pick(self, kind: str) -> str:
        """A word of a list."""
        return self.rng.choice(listed(kind, self.test))

    def sample(self, kind: str, count: int) -> list[str]:
        """Different words of a list, as many as it has at most."""
        words = listed(kind, self.test)
        return self.rng.sample(words, min(count, len(words)))

    def invented(self, syllables: int) -> str:
        """A word that no list has."""
        while True:
            parts = self.rng.choices(_SYLLABLES, k=syllables)
            word = "".join(parts) + self.rng.choice(_ENDS)
            if held_out(word) == self.test:
                return word
