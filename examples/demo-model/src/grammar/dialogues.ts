// Talk between two people: questions that are answered, plans that are made.
import type { Productions } from './expand.ts';

/** Productions of the dialogues; `dialogue` is the start. */
export const dialogues: Productions = {
  dialogue: [
    '{askWhere}',
    '{askAnimal}',
    '{askPlan}',
    '{askPlan}',
    '{askFood}',
    '{askWork}',
    '{askMood}',
    '{askColor}',
  ],

  askWhere: [
    '"Where is my {shade:color} {thing:thing}?" asked {hero:person}. "It is {hideout}," said {hero.his} {elder:elder}. {Hero} looked there and found it. "Thank you," {hero.he} said.',
    '"Have you seen {friend:person}?" asked {hero:person}. "{Friend.he} is {outdoors.at}," {answer} {other:person}. "{Friend.he} is {play:play.ing} {play.how}."',
    '"Is this your {thing:thing}?" asked {hero:person}. "No," {answer} {friend:person}, "mine is {shade:color}. That one belongs to {third:person}."',
    '"Who lives in that {size} house?" asked {hero:person}. "A {nature} {job:job} lives there," said {hero.his} {elder:elder}. "{Elder.he} is my friend," said {friend:person}, "and I often visit the {job}."',
  ],
  answer: ['answered', 'said', 'replied'],

  askAnimal: [
    '"Where do {it:animal.pl} live?" asked {hero:person}. "They live {it.home}," {answer} {hero.his} {elder:elder}. "And what do they eat?" "They eat {it.food}," said {hero.his} {elder}.',
    '"What is that?" asked {hero:person}. "That is a {it:animal}," said {friend:person}. "Listen, it {it.voices}." {Hero} listened, and then {hero.he} laughed.',
    '"Do you like {it:animal.pl}?" asked {hero:person}. "Yes, I do," said {friend:person}, "because they {it.move} so well." "I like {two:animal.pl} more," said {hero}.',
    '"Can a {it:animal} talk?" asked little {hero:person}. "No," said {hero.his} {elder:elder}, "but it can {it.voice}."',
  ],

  askPlan: [
    '"What do you want to do on {weekday}?" asked {hero:person}. "I want to {play:play} {play.how}," {answer} {friend:person}. "That is a good idea," said {hero}. "I will come with you."',
    '"Shall we go to the {spot:outdoors}?" asked {hero:person}. "No," said {friend:person}, "it is too {weather}. Let us {play:play} {play.how}." So they {play.past} {play.how} until the evening.',
    '"Can you {play:play} {play.how}?" asked {hero:person}. "Yes, I can," {answer} {friend:person}, "but my {sibling:sibling} cannot. {Sibling.he} is too small."',
    '"May I {play:play} {play.how}?" asked {hero:person}. "First you must help me," said {hero.his} {elder:elder}. {Hero} helped {elder.him}, and then {hero.he} {play.past} {play.how}.',
    '"Will you come to the {spot:place} tomorrow?" asked {hero:person}. "I cannot," said {friend:person}, "because I have to help my {elder:elder}." "Then I will help you both," said {hero}.',
    '"Have you ever {play:play.part} {play.how}?" asked {hero:person}. "I have never done it," said {friend:person}, "but my {elder:elder} {play.past} {play.how} when {elder.he} was young."',
  ],

  askFood: [
    '"I am hungry," said {hero:person}. "Would you like some {dish:dish}?" asked {hero.his} {elder:elder}. "No, thank you," {answer} {hero}. "I would like {number} {fruit.pl}."',
    '"How many {fruit:fruit.pl} do we need?" asked {hero:person}. "We need {count:number}," said {hero.his} {elder:elder}. {Hero} took {count} {fruit.pl} and washed them {manner}.',
    '"Who ate the {dish:dish}?" asked the {elder:elder} of {hero:person}. "I did," said {hero}, "and it was very good." {Hero.his} {elder} laughed.',
  ],

  askWork: [
    '"What does your {elder:elder} do?" asked {hero:person}. "{Elder.he} is a {work:job}," {answer} {friend:person}. "{Elder.he} {work.acts}."',
    '"What do you want to be?" asked {hero:person}. "I want to be a {work:job}," {answer} {friend:person}, "because I like to {work.act}."',
    '"Can you give me the {it:tool}?" asked the {work:job}. "What do you need it for?" asked {hero:person}. "I need it to {it.use}," said the {work}.',
  ],

  askMood: [
    '"Why are you so {bad}?" asked {hero:person}. "I have lost my {thing:thing}," said {friend:person}. "I have two," said {hero}. "You can have one of mine."',
    '"You look {good} today," said {hero:person}. "Yes," said {friend:person}, "my {elder:elder} gave me a {condition} {toy:toy}." "May I see it?" asked {hero}. "Of course," said {friend}.',
    '"I am {bad}," said {hero:person}. "Tell me why," said {hero.his} {elder:elder}. "Because {friend:person} did not want to play with me." "Tomorrow {friend.he} will," said {hero.his} {elder}.',
  ],

  askColor: [
    '"Which color do you like best?" asked {hero:person}. "I like {shade:color}," {answer} {friend:person}, "because my {thing:thing} is {shade}." "I like {other:color} more," said {hero}.',
    '"How old are you?" asked {hero:person}. "I am {number} years old," {answer} {friend:person}, "and my {sibling:sibling} is {number}."',
    '"Is the {thing:thing} {one:condition}?" asked {hero:person}. "No, it is {two:condition}," {answer} {friend:person}. "I got it from my {elder:elder} in {season}."',
  ],
};
