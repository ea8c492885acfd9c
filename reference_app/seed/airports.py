"""Forty of the world's large airports, the largest first: the rank decides which routes are flown and how often."""

from __future__ import annotations

from reference_app.stores.flights import Airport

_ROWS = """
ATL|Hartsfield-Jackson|Atlanta|US|north-america|33.64|-84.43
LHR|Heathrow|London|GB|europe|51.47|-0.45
JFK|John F. Kennedy|New York|US|north-america|40.64|-73.78
LAX|Los Angeles International|Los Angeles|US|north-america|33.94|-118.41
DXB|Dubai International|Dubai|AE|middle-east|25.25|55.36
CDG|Charles de Gaulle|Paris|FR|europe|49.01|2.55
ORD|O'Hare|Chicago|US|north-america|41.98|-87.90
HND|Haneda|Tokyo|JP|asia-pacific|35.55|139.78
AMS|Schiphol|Amsterdam|NL|europe|52.31|4.76
FRA|Frankfurt am Main|Frankfurt|DE|europe|50.03|8.56
DFW|Dallas Fort Worth|Dallas|US|north-america|32.90|-97.04
SFO|San Francisco International|San Francisco|US|north-america|37.62|-122.38
DEN|Denver International|Denver|US|north-america|39.86|-104.67
IST|Istanbul Airport|Istanbul|TR|europe|41.26|28.74
SIN|Changi|Singapore|SG|asia-pacific|1.36|103.99
MAD|Barajas|Madrid|ES|europe|40.47|-3.56
SEA|Seattle-Tacoma|Seattle|US|north-america|47.45|-122.31
MIA|Miami International|Miami|US|north-america|25.79|-80.29
MUC|Franz Josef Strauss|Munich|DE|europe|48.35|11.79
BCN|El Prat|Barcelona|ES|europe|41.30|2.08
EWR|Newark Liberty|Newark|US|north-america|40.69|-74.17
BOS|Logan|Boston|US|north-america|42.36|-71.01
IAD|Dulles|Washington|US|north-america|38.94|-77.46
LAS|Harry Reid|Las Vegas|US|north-america|36.08|-115.15
CLT|Charlotte Douglas|Charlotte|US|north-america|35.21|-80.94
PHX|Sky Harbor|Phoenix|US|north-america|33.43|-112.01
MCO|Orlando International|Orlando|US|north-america|28.43|-81.31
FCO|Fiumicino|Rome|IT|europe|41.80|12.25
DUB|Dublin Airport|Dublin|IE|europe|53.42|-6.27
ZRH|Kloten|Zurich|CH|europe|47.46|8.55
VIE|Schwechat|Vienna|AT|europe|48.11|16.57
LIS|Humberto Delgado|Lisbon|PT|europe|38.77|-9.13
CPH|Kastrup|Copenhagen|DK|europe|55.62|12.66
ARN|Arlanda|Stockholm|SE|europe|59.65|17.92
YYZ|Pearson|Toronto|CA|north-america|43.68|-79.63
GRU|Guarulhos|Sao Paulo|BR|south-america|-23.43|-46.47
ICN|Incheon|Seoul|KR|asia-pacific|37.46|126.44
SYD|Kingsford Smith|Sydney|AU|asia-pacific|-33.94|151.18
DEL|Indira Gandhi|Delhi|IN|asia-pacific|28.57|77.10
JNB|O. R. Tambo|Johannesburg|ZA|africa|-26.14|28.25
"""


def airports_by_size() -> list[Airport]:
    """Return the airports, largest first."""
    found = []
    for line in _ROWS.strip().splitlines():
        code, name, city, country, region, latitude, longitude = line.split("|")
        found.append(Airport(code, name, city, country, region, float(latitude), float(longitude)))
    return found
