// The words of the grammar, by category. A thing carries what is true of it, so that what is said about it agrees.
import type { Entry, Lexicon } from './expand.ts';
import { noun, verb, withEd, withS } from './inflect.ts';

const words = (list: string): Entry[] => list.split(' ').map((base) => ({ base }));
const phrases = (...list: string[]): Entry[] => list.map((base) => ({ base }));

const HE = { he: 'he', him: 'him', his: 'his', himself: 'himself', child: 'boy', grown: 'man' };
const SHE = { he: 'she', him: 'her', his: 'her', himself: 'herself', child: 'girl', grown: 'woman' };

const girls = words(
  'Anna Lily Mia Sara Emma Nora Ella Rosa Clara Lucy Ida Greta Julia Marta Vera Alma Ruth Helen Nina Paula',
).map((name) => ({ ...name, ...SHE }));
const boys = words(
  'Tom Ben Max Leo Sam Finn Oskar Paul Jack Hugo Theo Emil Adam Peter Karl Noah Simon Felix Robert Victor',
).map((name) => ({ ...name, ...HE }));

/** An animal with its food, home, voice, way to move, cover and young; a verb's forms get a prefix. */
function animal(row: string): Entry {
  const [base, pl, food, home, voice, move, moved, cover, young] = row.split(', ') as [string, ...string[]] as string[];
  return {
    base: base!,
    pl: pl!,
    food: food!,
    home: home!,
    cover: cover!,
    young: young!,
    youngs: withS(young!),
    voice: voice!,
    voices: withS(voice!),
    voiced: withEd(voice!),
    move: move!,
    moves: withS(move!),
    moved: moved!,
  };
}

const animals = [
  'cow, cows, grass, on a farm, moo, walk, walked, short hair, calf',
  'hen, hens, seeds, on a farm, cluck, run, ran, feathers, chick',
  'duck, ducks, small plants, by a pond, quack, swim, swam, feathers, duckling',
  'goose, geese, grass, by a pond, honk, swim, swam, feathers, gosling',
  'frog, frogs, flies, by a pond, croak, jump, jumped, smooth skin, tadpole',
  'dog, dogs, meat, in a house, bark, run, ran, fur, puppy',
  'cat, cats, fish, in a house, meow, climb, climbed, fur, kitten',
  'horse, horses, hay, on a farm, neigh, run, ran, short hair, foal',
  'sheep, sheep, grass, on a farm, bleat, walk, walked, wool, lamb',
  'goat, goats, leaves, on a farm, bleat, climb, climbed, hair, kid',
  'pig, pigs, corn, on a farm, grunt, run, ran, thin hair, piglet',
  'owl, owls, mice, in a forest, hoot, fly, flew, feathers, owlet',
  'bear, bears, berries, in a forest, growl, climb, climbed, fur, cub',
  'fox, foxes, mice, in a forest, bark, run, ran, fur, cub',
  'squirrel, squirrels, nuts, in a forest, squeak, climb, climbed, fur, pup',
  'crow, crows, seeds, in a tree, caw, fly, flew, feathers, chick',
  'lion, lions, meat, in a hot land, roar, run, ran, fur, cub',
  'monkey, monkeys, fruit, in a jungle, chatter, climb, climbed, fur, baby',
  'parrot, parrots, nuts, in a jungle, chatter, fly, flew, feathers, chick',
  'snake, snakes, mice, in a field, hiss, crawl, crawled, dry scales, hatchling',
  'rabbit, rabbits, grass, in a field, squeak, jump, jumped, fur, kitten',
  'mouse, mice, seeds, in a field, squeak, run, ran, fur, pup',
  'seal, seals, fish, by the sea, bark, swim, swam, fur, pup',
  'penguin, penguins, fish, by the sea, honk, swim, swam, feathers, chick',
].map(animal);

/** Work: who does it, what is done (`act`, `acts`, has `done`), where, and with what. */
function job(row: string): Entry {
  const [base, act, acts, done, place, tool] = row.split(', ') as string[];
  return { base: base!, pl: withS(base!), act: act!, acts: acts!, done: done!, place: place!, tool: tool! };
}

const jobs = [
  'baker, bake bread, bakes bread, baked bread, bakery, oven',
  'farmer, grow corn, grows corn, grown corn, farm, tractor',
  'teacher, teach children, teaches children, taught children, school, book',
  'doctor, help sick people, helps sick people, helped sick people, hospital, lamp',
  'painter, paint pictures, paints pictures, painted pictures, studio, brush',
  'gardener, plant flowers, plants flowers, planted flowers, garden, spade',
  'fisher, catch fish, catches fish, caught fish, harbor, net',
  'carpenter, make tables, makes tables, made tables, workshop, hammer',
  'tailor, sew coats, sews coats, sewed coats, shop, needle',
  'cook, make soup, makes soup, made soup, kitchen, spoon',
  'driver, drive a bus, drives a bus, driven a bus, city, bus',
  'sailor, sail ships, sails ships, sailed ships, harbor, rope',
].map(job);

/** A thing made of a material, with what it is for. */
function tool(row: string): Entry {
  const [base, material, use] = row.split(', ') as string[];
  return { base: base!, pl: base === 'knife' ? 'knives' : withS(base!), material: material!, use: use! };
}

const tools = [
  'hammer, iron, hit nails',
  'knife, steel, cut bread',
  'spoon, wood, eat soup',
  'cup, clay, drink tea',
  'chair, wood, sit',
  'coat, wool, stay warm',
  'window, glass, look outside',
  'basket, straw, carry fruit',
  'boat, wood, cross the river',
  'lamp, glass, read at night',
  'bell, iron, call people',
  'pot, clay, cook soup',
  'rope, straw, tie things',
  'bag, leather, carry books',
  'shoe, leather, walk',
  'key, iron, open doors',
].map(tool);

const people = [...girls, ...boys];

/** The lexicon of the demo grammar. */
export const lexicon: Lexicon = {
  person: people,
  girl: girls,
  boy: boys,
  animal: animals,
  pet: animals.filter((entry) => ['dog', 'cat', 'rabbit', 'hen', 'goat', 'parrot', 'duck'].includes(entry['base']!)),
  bird: animals.filter((entry) => ['owl', 'crow', 'hen', 'goose', 'duck', 'parrot'].includes(entry['base']!)),
  forester: animals.filter((entry) =>
    ['bear', 'fox', 'owl', 'squirrel', 'rabbit', 'frog', 'mouse', 'crow'].includes(entry['base']!),
  ),
  job: jobs,
  tool: tools,
  elder: [
    { base: 'mother', ...SHE, pet: 'Mom' },
    { base: 'father', ...HE, pet: 'Dad' },
    { base: 'grandmother', ...SHE, pet: 'Grandma' },
    { base: 'grandfather', ...HE, pet: 'Grandpa' },
  ],
  sibling: [
    { ...noun('sister'), ...SHE },
    { ...noun('brother'), ...HE },
  ],
  toy: [
    noun('ball'),
    noun('kite'),
    noun('doll'),
    noun('drum'),
    noun('train'),
    noun('robot'),
    noun('puzzle'),
    noun('whistle'),
  ],
  thing: [
    noun('hat'),
    noun('scarf', 'scarves'),
    noun('book'),
    noun('key'),
    noun('ring'),
    noun('coin'),
    noun('bag'),
    noun('lamp'),
  ],
  color: words('red blue green yellow white black brown gray pink purple orange'),
  furColor: words('brown black white gray yellow red'),
  size: words('big small little tiny large huge'),
  nature: words('kind brave quiet clever curious gentle cheerful careful lazy proud shy honest'),
  mood: words('happy sad tired angry afraid hungry proud bored'),
  good: words('happy glad proud cheerful'),
  bad: words('sad angry afraid worried'),
  weather: words('sunny rainy windy cold warm cloudy snowy'),
  condition: words('old new broken heavy soft shiny wooden pretty'),
  place: words('park forest garden market library school beach river lake village hill farm'),
  outdoors: [
    { base: 'park', at: 'in the park' },
    { base: 'forest', at: 'in the forest' },
    { base: 'garden', at: 'in the garden' },
    { base: 'beach', at: 'on the beach' },
    { base: 'river', at: 'by the river' },
    { base: 'lake', at: 'by the lake' },
    { base: 'hill', at: 'on the hill' },
    { base: 'farm', at: 'on the farm' },
  ],
  hideout: phrases(
    'under the bed',
    'behind the door',
    'on the roof',
    'in the tall grass',
    'near the old well',
    'under a green bush',
    'in a dark cave',
    'behind the big stone',
    'in the kitchen',
    'at the top of the stairs',
  ),
  time: phrases(
    'one day',
    'one morning',
    'one evening',
    'one afternoon',
    'last summer',
    'last winter',
    'last week',
    'a long time ago',
  ),
  later: phrases(
    'after a while',
    'a little later',
    'soon',
    'at last',
    'in the evening',
    'the next day',
    'after lunch',
    'before dinner',
  ),
  weekday: words('Monday Tuesday Wednesday Thursday Friday Saturday Sunday'),
  season: words('spring summer autumn winter'),
  fruit: [noun('apple'), noun('pear'), noun('plum'), noun('peach'), noun('cherry'), noun('lemon'), noun('orange')],
  dish: words('soup bread cake rice cheese pie pasta salad'),
  drink: words('milk tea water juice cocoa'),
  plant: [
    noun('rose'),
    noun('tulip'),
    noun('oak'),
    noun('pine'),
    noun('bean'),
    noun('tomato', 'tomatoes'),
    noun('carrot'),
    noun('daisy'),
  ],
  number: words('two three four five six seven eight nine ten'),
  manner: words('slowly quickly quietly carefully gently happily bravely softly'),
  // What a child does by itself, as verb and the place that goes with it.
  play: [
    { ...verb('run', 'ran', 'run'), how: 'in the grass' },
    { ...verb('sing', 'sang', 'sung'), how: 'a song' },
    { ...verb('swim', 'swam', 'swum'), how: 'in the lake' },
    { ...verb('dance'), how: 'in the kitchen' },
    { ...verb('draw', 'drew', 'drawn'), how: 'a picture' },
    { ...verb('climb'), how: 'a tree' },
    { ...verb('jump'), how: 'over a stone' },
    { ...verb('read', 'read', 'read'), how: 'a book' },
    { ...verb('paint'), how: 'a picture' },
    { ...verb('bake'), how: 'a cake' },
    { ...verb('build', 'built', 'built'), how: 'a tower' },
    { ...verb('plant'), how: 'a tree' },
    { ...verb('fly', 'flew', 'flown'), how: 'a kite' },
    { ...verb('ride', 'rode', 'ridden'), how: 'a bicycle' },
    { ...verb('write', 'wrote', 'written'), how: 'a letter' },
    { ...verb('cook'), how: 'some soup' },
  ],
  say: [
    { ...verb('say', 'said', 'said') },
    { ...verb('answer') },
    { ...verb('reply') },
    { ...verb('whisper') },
    { ...verb('shout') },
  ],
  see: [
    { ...verb('see', 'saw', 'seen') },
    { ...verb('find', 'found', 'found') },
    { ...verb('notice') },
    { ...verb('meet', 'met', 'met') },
  ],
  go: [{ ...verb('walk') }, { ...verb('run', 'ran', 'run') }, { ...verb('hurry') }, { ...verb('go', 'went', 'gone') }],
  virtue: phrases('honest', 'patient', 'kind', 'brave', 'careful'),
};
