import { createRoot } from 'react-dom/client';
import 'graphiql/style.css';
import './page.css';
import { Playground } from './playground.jsx';

createRoot(document.getElementById('root')).render(<Playground />);
