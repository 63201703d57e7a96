// Short plain texts that tell what is true of the lexicon's animals, tools, jobs and plants.
import type { Productions } from './expand.ts';

/** Productions of the facts; `facts` is the start. */
export const facts: Productions = {
  facts: [
    '{animalFacts}',
    '{animalFacts}',
    '{twoAnimals}',
    '{toolFacts}',
    '{jobFacts}',
    '{seasonFacts}',
    '{familyFacts}',
    '{dayFacts}',
  ],

  animalFacts: [
    '{animalHome} {animalFood} {animalVoice}',
    '{animalHome} {animalVoice} {animalYoung}',
    '{animalHome} {animalFood} {animalBody} {animalYoung}',
    '{animalManyFacts}',
  ],
  animalHome: [
    'A {it:animal} is an animal that lives {it.home}.',
    'The {it:animal} lives {it.home}.',
    'This is a {it:animal}. It lives {it.home}.',
    'If you want to see a {it:animal}, look for it {it.home}.',
  ],
  animalFood: [
    'It eats {it.food}.',
    '{It.pl} like to eat {it.food}.',
    'Most {it.pl} eat {it.food} and drink water.',
    'When a {it} is hungry, it looks for {it.food}.',
  ],
  animalVoice: [
    'It can {it.voice} and {it.move}.',
    'When a {it} is afraid, it {it.voices} and {it.moves} away.',
    '{It.pl} {it.voice}, and they {it.move} very well.',
    'You can hear how the {it} {it.voices}.',
  ],
  animalBody: [
    'Its body is covered with {it.cover}.',
    'It has {it.cover}, which can be {furColor} or {other:furColor}.',
    'The {it.cover} of the {it} keeps it warm.',
  ],
  animalYoung: [
    'A young {it} is called a {it.young}.',
    'Its children are called {it.youngs}.',
    'The mother takes care of her {it.youngs} until they are big.',
  ],
  animalManyFacts: [
    'Do you know {it:animal.pl}? They live {it.home} and eat {it.food}. They have {it.cover}. A {it.young} is a young {it}.',
    'There are many {it:animal.pl} {it.home}. They {it.move} in the morning and sleep at night. They eat {it.food} that they find there.',
    'Yesterday the children saw {number} {it:animal.pl}. The {it.pl} {it.voiced} and {it.moved}. "What do they eat?" asked a {girl.child}. "They eat {it.food}," said the teacher.',
  ],

  twoAnimals: [
    'A {one:animal} lives {one.home}, but a {two:animal} lives {two.home}. The {one} eats {one.food}, and the {two} eats {two.food}.',
    '{One:animal.pl} {one.voice}, and {two:animal.pl} {two.voice}. The {one.pl} have {one.cover}, and the {two.pl} have {two.cover}.',
    'Which animal lives {one:animal.home} and eats {one.food}? It can {one.voice}, and it has {one.cover}. It is a {one}.',
    'I am an animal. I live {one:animal.home}. I eat {one.food}, and I can {one.voice}. My children are {one.youngs}. Who am I? I am a {one}.',
  ],

  toolFacts: [
    'A {it:tool} is made of {it.material}. People need it to {it.use}.',
    'With a {it:tool} you can {it.use}. Most {it.pl} are made of {it.material}.',
    'What is a {it:tool} for? You need it to {it.use}. A good {it} is made of {it.material}, and it can be {color} or {other:color}.',
    'This {it:tool} is {condition}. It was made of {it.material} by a {job}. Without it, we could not {it.use}.',
    'We have {number} {it:tool.pl}. They are all made of {it.material}. The {color} one is the oldest.',
  ],

  jobFacts: [
    'A {it:job} {it.acts}. {It.pl} work at the {it.place}.',
    'The {it:job} works at the {it.place}. Every {it} needs a {it.tool}.',
    '{Hero:person} is a {it:job} who {it.acts}. {Hero.he} needs a {it.tool} for {hero.his} work.',
    'What does a {it:job} do? A {it} {it.acts}. If you want to be a {it}, you must be {virtue}.',
    'Two people work here. One is a {it:job}, and {it.acts}. The other is a {two:job}, and {two.acts}.',
  ],

  seasonFacts: [
    'In spring, the trees get new leaves. {Plant:plant.pl} grow in the garden, and the birds sing.',
    'In summer, the days are long and warm. The children swim in the lake and eat {fruit.pl}.',
    'In autumn, the leaves are red and yellow, and many {fruit.pl} are ready. It is often {weather}.',
    'In winter, the days are short and cold. When there is snow, many animals sleep. People drink warm {drink}.',
    'A {plant:plant} needs water and light. In spring it grows, and it sleeps in winter.',
    '{Hero:person} planted {number} {plant:plant.pl} in spring. {Hero.he} gave them water every day. {Later}, they were big and strong.',
  ],

  familyFacts: [
    '{Hero:person} has {number} {sibling:sibling.pl}. They are older than {hero}. The oldest {sibling} is a {job}.',
    'The {elder:elder} of {hero:person} is {nature}. {Elder.he} likes to {play:play} {play.how}, and {hero} likes to do it with {elder.him}.',
    'In the family of {hero:person} there are {number} people and a {furColor} {pet:pet}. The {pet} eats {pet.food} and sleeps in the kitchen.',
    '{Hero:person} is {number} years old. {Hero.he} likes {fruit:fruit.pl} and {dish}, but {hero.he} does not like {other:dish}.',
    '{Hero:person} and {friend:person} are friends. {Hero} is {first:nature}, and {friend} is {second:nature}. They {play:play} {play.how} every {weekday}.',
  ],

  dayFacts: [
    'On {weekday}, {hero:person} {play:play.s} {play.how}. On {weekday}, {hero.he} helps {hero.his} {elder:elder}.',
    'In the morning, {hero:person} eats {dish} and drinks {drink}. Then {hero.he} {go.s} to school. In the evening, {hero.he} {play:play.s} {play.how}.',
    'Today is {weekday}, and it is {weather}. {Hero:person} is {play:play.ing} {play.how}, and {hero.his} {sibling:sibling} is {other:play.ing} {other.how}.',
    'Tomorrow {hero:person} will {play:play} {play.how}. Yesterday {hero.he} {other:play.past} {other.how}. {Hero.he} has never {third:play.part} {third.how}.',
    'The {weather} day was over. The children who had been {play:play.ing} {play.how} were tired, and they slept well.',
  ],
};
